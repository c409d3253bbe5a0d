"""What a profile adds to the registry: read from the example of docs/mapping.md, and refused where it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fm_pipeline.entities.order import generations, parents
from fm_pipeline.entities.profile import Profile, load_profile
from fm_pipeline.entities.profile_additions import CHOICES as CHOICES_OF_PROFILES
from fm_pipeline.entities.profile_additions import PLAIN_READERS, faults
from fm_pipeline.entities.registry import CONTACT_DETAIL, ENTITIES, Phase, loaded
from fm_pipeline.errors import MappingError
from fm_pipeline.staging.values.choices import CHOICES
from fm_pipeline_tests.support.further_tables import columns_of_page, with_example, write_profile


def load(folder: Path, **changes: Mapping[str, Any]) -> Profile:
    return load_profile(write_profile(folder, with_example(**changes)))


def test_the_columns_of_the_documentation_are_those_of_the_registry() -> None:
    assert columns_of_page("Columns of Nexus and what feeds them") == [
        [f"`{entity.table}.{name}`", ", ".join(column.fields), column.reader]
        for entity in loaded(ENTITIES)
        for name, column in entity.columns.items()
    ]


def test_the_example_of_the_documentation_is_a_profile(tmp_path: Path) -> None:
    registry = load(tmp_path).registry
    doctor, patient = registry["doctor"], registry["patient"]
    assert (doctor.table, doctor.staged_table, doctor.id_column) == (
        "referral_doctors", "staged_referral_doctors", "filemaker_id",
    )  # fmt: skip
    assert [(p.entity, p.column, p.needed) for p in patient.parents] == [("doctor", "usual_doctor_id", False)]
    assert [name for name in patient.columns if name not in ENTITIES["patient"].columns] == ["usual_doctor_id"]
    assert registry["referral"].by_content


def test_what_patients_point_to_is_loaded_before_them_and_what_points_to_patients_with_the_notes(
    tmp_path: Path,
) -> None:
    registry = load(tmp_path).registry
    assert [registry[name].phase for name in ("practice", "doctor", "referral")] == [
        Phase.PATIENTS, Phase.PATIENTS, Phase.NOTES,
    ]  # fmt: skip
    order = [entity.name for generation in generations(registry) for entity in generation]
    assert order.index("practice") < order.index("doctor") < order.index("patient") < order.index("referral")


def test_every_reader_and_choice_of_a_profile_is_one_of_the_documentation() -> None:
    words = " ".join(cell for row in columns_of_page("Readers") for cell in row[:1])
    assert {f"`{reader}`" for reader in PLAIN_READERS} <= set(words.replace(",", "").split())
    assert set(CHOICES_OF_PROFILES) == set(CHOICES)


def nexus(**parts: object) -> dict[str, Any]:
    return {"nexus": parts}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"doctor": nexus(columns={"practice_id": "parent:practices"})}, r"points to practices, which is no entity"),
        ({"doctor": nexus(columns={"practice_id": "parent:contact_detail"})}, r"not loaded into a table"),
        ({"doctor": nexus(columns={"fee": "money"})}, r"doctor.nexus.columns.fee\): there is no reader money; there"),
        ({"doctor": nexus(columns={"fee": "lookup:region"})}, r"lookup:region is not known; there are lookup:clinic"),
        ({"doctor": nexus(columns={"fee": {"reader": "line", "fields": ["a", "b"]}})}, r"reads one field"),
        ({"doctor": nexus(columns={"filemaker_id": "line"})}, r"filemaker_id is the id, which is read by itself"),
        ({"doctor": nexus(table=None)}, r"doctor needs the Nexus table"),
        ({"doctor": nexus(id=None)}, r"doctor needs an id"),
        ({"doctor": nexus(table="patients")}, r"patients belongs to patient already"),
        ({"doctor": nexus(table="referrals")}, r"referrals belongs to doctor already"),
        ({"doctor": nexus(plural="images")}, r"images belongs to image already"),
        ({"doctor": nexus(plural="image_files")}, r"image_files cannot be the plural of doctor"),
        ({"doctor": {"fields": {"shoe_size": ["x"]}}}, r"doctor has no canonical field shoe_size"),
        ({"doctor": {"fields": {"practice": []}}}, r"doctor.fields.practice\): .*at least 1 item"),
        ({"patient": nexus(table="people")}, r"patient comes with the pipeline; only columns can be added"),
        ({"patient": nexus(columns={"dob": "date"})}, r"the column dob of patient is fed already"),
        ({"document": nexus(columns={"x": "line"})}, r"document is not loaded into a table"),
        ({"practice": nexus(columns={"owner_id": "reference:referral"})}, r"circle: .*referral"),
        ({"practice": nexus(columns={"head_id": "reference:practice"})}, r"circle: practice → practice"),
        ({"appointment": nexus(columns={"n_id": "reference:note"})}, r"phase 4 and cannot point to note, .* phase 5"),
        ({"practice": nexus(columns={"x": 1})}, r"practice.nexus.columns.x\)"),
        ({"practice": nexus(columns={})}, None),
    ],
)
def test_a_table_that_cannot_be_is_refused_with_what_and_where(
    tmp_path: Path, changes: dict[str, Any], says: str | None
) -> None:
    if says is None:
        load(tmp_path, **changes)
        return
    with pytest.raises(MappingError, match=says) as refused:
        load(tmp_path, **changes)
    assert "docs/mapping.md" in refused.value.remedy


def test_an_entity_without_its_part_nexus_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    content = with_example()
    del content["practice"]["nexus"]
    with pytest.raises(MappingError, match=r"no entity practice; .* a table of your own needs the part nexus"):
        load_profile(write_profile(tmp_path, content))


EXAMPLE = with_example()
NAMES = ["a", "b", "c", "d", "patient", "appointment", "note"]
POINTS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.booleans()), max_size=8)


@given(POINTS)
@settings(max_examples=60)
def test_any_entities_are_staged_and_loaded_after_those_that_they_point_to_or_refused(
    points: list[tuple[str, str, bool]],
) -> None:
    content = deepcopy(EXAMPLE)
    for name in NAMES[:4]:
        content[name] = {"layout": ["L"], "fields": {"filemaker_id": ["id"]}, "nexus": {"table": f"t_{name}"}}
        content[name]["nexus"] |= {"id": "content", "columns": {"name": "line"}}
    for number, (child, parent, needed) in enumerate(points):
        part = content[child].setdefault("nexus", {"columns": {}})
        reader = f"{'parent' if needed else 'reference'}:{parent}"
        part["columns"][f"column_{number}"] = {"reader": reader, "fields": [f"field_{number}"]}
        content[child]["fields"][f"field_{number}"] = ["F"]
    profile = Profile.model_validate({"name": "clinic", "entities": content})
    if wrong := [what for what, _ in faults(profile.entities)]:
        assert all("circle" in what or "phase" in what for what in wrong)
        return
    registry = profile.registry
    order = [entity.name for generation in generations(registry) for entity in generation]
    assert sorted(order) == sorted(registry.keys() - {CONTACT_DETAIL})
    for name in order:
        for parent in parents(registry, name):
            before, after = registry[parent], registry[name]
            assert order.index(parent) < order.index(name)
            assert before.phase is None or after.phase is None or before.phase <= after.phase
