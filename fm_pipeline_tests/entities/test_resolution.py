"""A profile, compared with layouts and fields of a server."""

from __future__ import annotations

import pytest

from fm_pipeline.entities.profile import EntityMapping, Profile
from fm_pipeline.entities.resolution import Resolution, resolve
from fm_pipeline.errors import MappingError
from fm_pipeline.filemaker.model import Field

NOTES = {"filemaker_id": ["id", "id_Key"], "patient": ["id_Contact"], "content": ["note", "text"], "created_by": ["by"]}


def _resolve(layouts: dict[str, list[str]]) -> Resolution:
    profile = Profile(name="p", entities={"note": EntityMapping(layout=["API_Notes", "Notes"], fields=NOTES)})

    def fields_of(layout: str) -> list[Field]:
        return [Field(name, "normal", "text") for name in layouts[layout]]

    return resolve(profile, "note", layouts, fields_of)


def test_the_first_layout_that_the_server_has_is_chosen() -> None:
    fields = ["id", "id_Contact", "note"]
    assert _resolve({"Notes": fields}).layout == "Notes"
    assert _resolve({"Notes": fields, "API_Notes": fields}).layout == "API_Notes"


def test_names_are_compared_without_case_and_used_as_the_server_spells_them() -> None:
    found = _resolve({"api_notes": ["ID", "ID_CONTACT", "Note"]})
    assert found.layout == "api_notes"
    assert found.feeds["filemaker_id"][0].name == "ID"


def test_each_canonical_field_is_fed_by_the_fields_that_are_there_in_the_order_of_the_profile() -> None:
    found = _resolve({"Notes": ["text", "id_Key", "note", "id_Contact"]})
    names = {canonical: [field.name for field in fields] for canonical, fields in found.feeds.items()}
    assert names == {"filemaker_id": ["id_Key"], "patient": ["id_Contact"], "content": ["note", "text"]}


def test_an_optional_field_that_is_missing_is_reported() -> None:
    assert _resolve({"Notes": ["id", "id_Contact", "note"]}).unfed == ("created_by",)


@pytest.mark.parametrize("gone", ["id", "id_Contact", "note"])
def test_a_required_field_that_is_missing_is_refused_by_layout_and_field(gone: str) -> None:
    there = [name for name in ("id", "id_Contact", "note") if name != gone]
    with pytest.raises(MappingError, match=rf"The layout Notes has no field {gone}.*Place the field on the layout"):
        _resolve({"Notes": there})


def test_no_layout_at_all_is_refused_by_name() -> None:
    with pytest.raises(MappingError, match="no layout API_Notes or Notes"):
        _resolve({"Other": []})


def test_an_entity_that_the_profile_does_not_have_is_refused() -> None:
    with pytest.raises(MappingError, match="has no entity image"):
        resolve(Profile(name="p", entities={}), "image", [], lambda _: [])
