"""Restores into a schema that has changed since the backup: what still fits comes back, what does not is refused."""

from __future__ import annotations

import pytest

from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.catalogue.table_details import is_wider
from fm_pipeline_tests.nexus.backup.restoring import backup, give_back
from fm_pipeline_tests.support.clinics import MigrationBench


@pytest.mark.hard_case(17)
def test_a_changed_schema_is_noted_when_the_rows_still_fit(nexus: MigrationBench) -> None:
    folder = backup(nexus)
    before = nexus.execute("SELECT id, first_name FROM patients ORDER BY id")
    nexus.execute(
        "ALTER TABLE patients ADD COLUMN pronouns text; ALTER TABLE notes ADD pinned boolean NOT NULL DEFAULT true"
    )
    nexus.execute("UPDATE patients SET first_name = 'changed', pronouns = 'they'; DELETE FROM notes")
    report = give_back(nexus, folder)
    assert nexus.execute("SELECT id, first_name FROM patients ORDER BY id") == before
    assert nexus.execute("SELECT DISTINCT pronouns FROM patients") == [("they",)]
    assert nexus.execute("SELECT DISTINCT pinned FROM notes") == [(True,)]
    assert "every column of the backup fits" in report.notes[0]
    assert [note for note in report.notes if "patients.pronouns" in note or "notes.pinned" in note] == report.notes[1:]


@pytest.mark.hard_case(17)
def test_columns_that_were_widened_since_the_backup_take_its_rows_as_they_were(nexus: MigrationBench) -> None:
    nexus.execute(
        "ALTER TABLE notes ALTER note_type TYPE varchar(50);"
        "CREATE TABLE ledger (id serial PRIMARY KEY, patient_id uuid REFERENCES patients (id), visits smallint,"
        " amount numeric(8,2), remark varchar);"
        "INSERT INTO ledger (patient_id, visits, amount, remark) SELECT id, 7, 12.50, 'é' FROM patients"
    )
    folder = backup(nexus)
    rows = "SELECT id, visits, amount::text, remark FROM ledger ORDER BY id"
    notes = "SELECT id, note_type FROM notes ORDER BY id"
    before = nexus.execute(rows), nexus.execute(notes)
    nexus.execute(
        "ALTER TABLE notes ALTER note_type TYPE varchar(60);"
        "ALTER TABLE ledger ALTER id TYPE bigint, ALTER visits TYPE integer, ALTER amount TYPE numeric(12,2),"
        " ALTER remark TYPE text"
    )
    nexus.execute("UPDATE notes SET note_type = repeat('x', 60); UPDATE ledger SET visits = 70000, amount = 1234567.25")
    report = give_back(nexus, folder)
    assert (nexus.execute(rows), nexus.execute(notes)) == before
    assert "notes.note_type is character varying(60), was character varying(50): every value fits." in report.notes
    assert len([note for note in report.notes if note.startswith("ledger.")]) == 4


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("character varying(50)", "character varying(49)"),
        ("text", "character varying(50)"),
        ("bigint", "integer"),
        ("integer", "text"),
        ("real", "double precision"),
        ("numeric(8,2)", "numeric(10,3)"),
        ("numeric(8,2)", "numeric(7,2)"),
        ("character(5)", "character(9)"),
    ],
)
@pytest.mark.hard_case(17)
def test_a_column_is_not_wider_when_it_refuses_or_changes_a_value(was: str, now: str) -> None:
    assert not is_wider(was, now)


@pytest.mark.hard_case(17)
def test_a_schema_that_the_rows_do_not_fit_is_refused_with_every_column_named(nexus: MigrationBench) -> None:
    folder = backup(nexus)
    nexus.execute(
        "ALTER TABLE patients DROP COLUMN mrn; ALTER TABLE notes ALTER COLUMN note_type TYPE varchar(40);"
        "ALTER TABLE reminders ADD urgent text NOT NULL DEFAULT ''; ALTER TABLE reminders ALTER urgent DROP DEFAULT;"
        "DROP TABLE core_bookmark"
    )
    before = nexus.digests()
    with pytest.raises(BackupStop, match="does not fit") as caught:
        give_back(nexus, folder)
    for fault in (
        "patients.mrn is missing",
        "notes.note_type is character varying(40), was character varying(50)",
        "reminders.urgent is new and must be given",
        "core_bookmark is missing",
    ):
        assert fault in caught.value.what
    assert nexus.digests() == before
