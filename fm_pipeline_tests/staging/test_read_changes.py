"""What changed since the last reading is read, and nothing is overlooked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline_tests.sequence.nights import nights
from fm_pipeline_tests.sequence.nights_clinic import LAYOUTS, Clinic
from fm_pipeline_tests.sequence.nights_model import Row
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL

OLD = "2001-02-03T04:05:06"


@pytest.fixture
def clinic(postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """A clinic whose records were read whole at RUN_TIME."""
    with nights(postgresql, tmp_path_factory.mktemp("changes")) as made, made.clinic() as clinic:
        read_changes_and_stage(clinic.bench.settings, now=lambda: RUN_TIME)
        yield clinic


def read(clinic: Clinic, days: float) -> bool:
    """Read so many days later; return whether anything was staged."""
    return read_changes_and_stage(clinic.bench.settings, now=lambda: RUN_TIME + dt.timedelta(days=days))


def first(clinic: Clinic, kind: str) -> Row:
    """The oldest record of a kind."""
    return next(clinic.model.of(kind))


def edit(clinic: Clinic, row: Row, field: str, value: str, modified: str) -> None:
    """Edit a record as a user, or as a script that does not touch the time of its modification."""
    clinic.bench.store.edit(DATABASE, LAYOUTS[row.kind], row.record_id, {field: value, "modified": modified})


def known(clinic: Clinic, kind: str, field: str) -> dict[int, str]:
    """What we hold of the records of a kind."""
    return dict(
        clinic.bench.execute(
            "SELECT record_id, fields ->> %s FROM fm_pipeline.source_records WHERE entity = %s", field, kind
        )
    )


def test_only_what_was_modified_is_read_until_a_week_has_passed(clinic: Clinic) -> None:
    assert not read(clinic, 1)
    patient, second = list(clinic.model.of("patient"))[:2]
    edit(clinic, patient, "last_name", "seen", "2025-11-21T09:00:00")
    edit(clinic, second, "last_name", "not stamped", OLD)
    assert read(clinic, 2)
    names = known(clinic, "patient", "last_name")
    assert (names[patient.record_id], names[second.record_id] != "not stamped") == ("seen", True)
    assert not read(clinic, 3)
    assert read(clinic, 7.5)
    assert known(clinic, "patient", "last_name")[second.record_id] == "not stamped"


def test_a_deleted_record_is_noticed_by_the_number_and_found_by_the_ids(clinic: Clinic) -> None:
    note, (appointment, other, *_) = first(clinic, "note"), clinic.model.of("appointment")
    edit(clinic, other, "notes", "not stamped", OLD)
    for row in (note, appointment):
        clinic.bench.store.delete(DATABASE, LAYOUTS[row.kind], row.record_id)
    assert read(clinic, 1)
    assert note.record_id not in known(clinic, "note", "content")
    notes = known(clinic, "appointment", "notes")  # by its layout for ids, not whole
    assert appointment.record_id not in notes
    assert notes[other.record_id] != "not stamped"


def test_a_deletion_is_not_hidden_by_a_new_record_with_an_old_time(clinic: Clinic) -> None:
    note = first(clinic, "note")
    clinic.bench.store.delete(DATABASE, "Notes", note.record_id)
    record = {"id": "A-NEW-ONE", "patient": first(clinic, "patient").key, "content": "imported", "modified": OLD}
    clinic.bench.store.insert(DATABASE, "Notes", [record])
    assert read(clinic, 1)
    contents = known(clinic, "note", "content")
    assert note.record_id not in contents
    assert "imported" in contents.values()
