"""Ids: how they are compared, and the id that a new row gets."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.staging.values.keys import as_key, is_uuid, new_nexus_id

ID = "AAAAAAAA-0000-4000-8000-000000000001"


@pytest.mark.parametrize("spelling", [ID, ID.lower(), f" {ID}\r", f"\u00a0{ID}", f"{ID}\0"])
def test_case_3_ids_that_differ_by_case_or_blanks_are_the_same(spelling: str) -> None:
    assert as_key(spelling) == ID.lower()


def test_an_id_that_is_a_number_is_its_text() -> None:
    assert as_key(228) == "228"
    assert as_key(None) == ""


@pytest.mark.parametrize(
    "key", ["", "228", ID.lower()[:-1], ID.lower() + "0", "{" + ID.lower() + "}", ID.lower() + "\n"]
)
def test_what_is_not_a_uuid(key: str) -> None:
    assert not is_uuid(key)


def test_a_new_row_gets_the_id_that_the_mapping_page_describes() -> None:
    assert is_uuid(ID.lower())
    space = uuid.uuid5(uuid.NAMESPACE_URL, "https://fm-pipeline.example/note")
    assert new_nexus_id("note", "k-1") == str(uuid.uuid5(space, "k-1"))


@given(st.text(), st.text())
def test_two_keys_have_two_ids(one: str, other: str) -> None:
    assert (new_nexus_id("note", one) == new_nexus_id("note", other)) == (one == other)
    assert new_nexus_id("note", one) != new_nexus_id("patient", one)


@given(st.sampled_from(["patient", "note"]), st.text())
def test_a_new_id_is_the_uuid_of_version_5_of_its_key(entity: str, key: str) -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, f"https://fm-pipeline.example/{entity}")
    assert new_nexus_id(entity, key) == str(uuid.uuid5(namespace, key))
