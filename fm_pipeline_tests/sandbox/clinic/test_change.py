"""One percent of the records changed: the second reimport starts where the first ended."""

from __future__ import annotations

import pytest

from fm_pipeline.sandbox.clinic.change import change_one_percent
from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic


@pytest.fixture(scope="module")
def changed(clinic: Clinic) -> Clinic:
    return change_one_percent(clinic, 3)


def test_nexus_begins_as_the_first_reimport_left_it(clinic: Clinic, changed: Clinic) -> None:
    first = clinic.expected().tables
    for table in changed.nexus_tables():
        assert table.rows.keys() == first[table.name].rows.keys(), table.name


def test_nothing_is_to_do_when_nothing_changed(clinic: Clinic, changed: Clinic) -> None:
    again = changed.expected().changes
    for name in ("documents_document", "images_batch", "images_image", "letters_patientletter"):
        assert (again[name].inserted, again[name].updated, again[name].deleted) == (0, 0, 0)


def test_about_one_percent_changes() -> None:
    changed = change_one_percent(generate_clinic(scale=0.3), 3).expected().changes
    for name in ("patients", "appointments", "notes", "sms_messages"):
        touched = changed[name].inserted + changed[name].updated + changed[name].deleted
        assert touched == pytest.approx(changed[name].after / 100, abs=4), name


def test_every_kind_of_change_happens(changed: Clinic) -> None:
    changes = changed.expected().changes
    assert changes["patients"].deleted == 0
    assert min(changes["patients"].inserted, changes["patients"].updated) > 0
    for name in ("appointments", "notes", "sms_messages"):
        assert min(changes[name].inserted, changes[name].updated, changes[name].deleted) > 0, name


def test_a_note_that_is_edited_keeps_its_row(clinic: Clinic, changed: Clinic) -> None:
    before, after = clinic.expected().tables["notes"], changed.expected().tables["notes"]
    edited = [key for key in before.rows.keys() & after.rows.keys() if before.rows[key] != after.rows[key]]
    assert len(edited) == changed.expected().changes["notes"].updated
    for key in edited:
        assert str(after.values(after.rows[key])["content"]).endswith("Addendum: seen again, all well.")


def test_the_clinic_before_is_not_touched(clinic: Clinic) -> None:
    texts = clinic.filemaker_tables()
    change_one_percent(clinic, 4)
    assert clinic.filemaker_tables() == texts


@pytest.mark.parametrize("seed", range(12))
def test_an_appointment_that_something_refers_to_does_not_go(clinic: Clinic, seed: int) -> None:
    changed = change_one_percent(clinic, seed)
    expected = changed.expected()
    for name, table in changed.truth.before.items():
        if name not in expected.changes:
            assert expected.tables[name].rows == table.rows, name
    appointments = expected.tables["appointments"]
    assert appointments.ids("parent_appointment_id") <= {None, *appointments.rows}
    assert expected.tables["sms_messages"].ids("appointment_id") <= {None, *appointments.rows}
