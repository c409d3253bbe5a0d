"""Profiles: what comes with the pipeline, and what is said about a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fm_pipeline.entities.profile import Profile, load_profile
from fm_pipeline.entities.registry import ENTITIES
from fm_pipeline.errors import MappingError

RULES = (Path(__file__).parents[2] / "docs/mapping.md").read_text("utf-8")
NEXUS = (Path(__file__).parents[2] / "fm_pipeline/entities/nexus.yaml").read_text("utf-8")


def _table(section: str) -> dict[str, set[str]]:
    """First column of a table of docs/mapping.md -> the names in the second."""
    text = RULES.split(f"## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", text, re.MULTILINE)
    return {name: set(names.split(", ")) for name, names in rows}


def _load(folder: Path, text: str) -> Profile:
    path = folder / "clinic.yaml"
    path.write_text(text, "utf-8")
    return load_profile(path)


def test_the_entities_are_those_of_the_documentation() -> None:
    assert {name: set(entity.fields) for name, entity in ENTITIES.items()} == _table("Names of things")


# They say when and from where a record came; nothing in Nexus is made from them.
NOT_READ = {
    "nexus": {
        "API_Docs": {"doc_type", "date"},
        "API_Images": {"recid", "date", "Type"},
    },
    "wep": {
        "API_Contacts": {"modificationTimestamp"},
        "API_Docs": {"Type", "Date"},
        "API_Images": {"recid", "date", "Type"},
    },
}


@pytest.mark.parametrize("name", ["nexus", "wep"])
def test_a_profile_that_is_shipped_reads_the_layouts_and_fields_of_the_documentation(name: str) -> None:
    documented = _table(f"The fields of profile `{name}`")
    read = {
        mapping.layout[0]: {name for names in mapping.fields.values() for name in names}
        for mapping in load_profile(name).entities.values()
    }
    assert read == {layout: fields - NOT_READ[name].get(layout, set()) for layout, fields in documented.items()}


def test_a_profile_may_leave_out_files_messages_and_contact_details(tmp_path: Path) -> None:
    start = NEXUS.index("sms_message:")
    contacts = slice(NEXUS.index("contact_detail:"), NEXUS.index("appointment:"))
    text = NEXUS[:start].replace(NEXUS[contacts], "")
    assert list(_load(tmp_path, text).entities) == ["patient", "appointment", "note"]


def test_one_field_may_feed_several_canonical_fields(tmp_path: Path) -> None:
    text = NEXUS.replace("phone: [phone]", "phone: [ph]").replace("mobile: [mobile]", "mobile: [ph]")
    text = text.replace("email: [email]", "email: [Email default]").replace("[patient_id]", "[id.key, id_Contact]")
    contact = _load(tmp_path, text).entities["contact_detail"]
    assert contact.fields["phone"] == contact.fields["mobile"] == ["ph"]
    assert contact.fields["patient"] == ["id.key", "id_Contact"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("patient:\n", "patients:\n"), r"clinic.yaml, line 4 \(patients\): there is no entity patients"),
        (("    dob: [dob]", "    birthday: [dob]"), r"line 12 \(.*\): patient has no canonical field birthday"),
        (("    first_name: [first_name]\n", ""), r"line 6 \(patient.fields\): patient needs first_name"),
        (("    start: [start_time]\n", ""), r"appointment needs start or start_date"),
        (("    content: [note]\n", ""), r"note needs content"),
        (("    title: [title]", "    title: [title]\n    title: [other]"), r"line 9: title is there twice"),
        (("note:\n", "patient:\n"), r"line 55: patient is there twice"),
        (
            ("  fields:\n", "  sync: {policy: {dob: nexus, dob: filemaker}}\n  fields:\n"),
            r"line 6: dob is there twice",
        ),
        (("[dob]", "[dob, DOB]"), r"line 12 \(patient.fields.dob\): .*names a thing twice"),
        (("[dob]", "[]"), r"line 12 \(patient.fields.dob\): .*at least 1 item"),
        (("[dob]", "[no]"), r"line 12 \(patient.fields.dob.0\): .*valid string"),
        (("[dob]", "dob"), r"line 12 \(patient.fields.dob\): .*valid list"),
        (("  layout: [API_Notes]\n", ""), r"\(note.layout\): Field required"),
        (("  layout: [API_Notes]", "  layouts: [API_Notes]"), r"\(note.layout\)"),
        (("[dob]", "[dob"), r"clinic.yaml, line \d+: this is not YAML"),
    ],
)
def test_a_wrong_profile_is_refused_with_file_line_and_path(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    text = NEXUS.replace(*change, 1)
    assert text != NEXUS
    with pytest.raises(MappingError, match=says) as refused:
        _load(tmp_path, text)
    assert "docs/mapping.md" in refused.value.remedy


@pytest.mark.parametrize(("text", "says"), [("", "is empty"), ("- a\n", "dictionary"), ("a: &x [*x]", "valid")])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(MappingError, match=says):
        _load(tmp_path, text)


def test_a_profile_without_a_needed_entity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="the entity appointment is missing"):
        _load(tmp_path, NEXUS[: NEXUS.index("appointment:")])


@pytest.mark.parametrize("asked", ["elsewhere", "../nexus", "/nowhere/clinic.yaml", "", "nexus.txt"])
def test_a_profile_that_is_not_there_is_told_with_the_setting_to_change(asked: str) -> None:
    with pytest.raises(MappingError, match="Set FILEMAKER_PROFILE"):
        load_profile(asked)
