"""Restores where the database allows less than Django's own tables do: keys checked at once, columns never updated."""

from __future__ import annotations

import pytest

from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.backup.restore import RestoreReport
from fm_pipeline_tests.nexus.backup.restoring import give_back
from fm_pipeline_tests.support.clinics import MigrationBench

GONE = "SELECT p.id FROM patients p WHERE p.id NOT IN (SELECT nexus_id FROM fm_pipeline.staged_patients)"


def _there_and_back(bench: MigrationBench) -> RestoreReport:
    """A reimport, and the restore of the backup that was made for it."""
    before = bench.digests()
    bench.reimport()
    assert bench.digests() != before
    folder = list_backups(bench.settings)[0].folder
    report = give_back(bench, folder)
    assert bench.digests() == before
    assert give_back(bench, folder).changed_rows == 0
    return report


@pytest.mark.hard_case(20)
@pytest.mark.usefixtures("staged_once")
def test_immediate_references_are_restored_after_the_rows_that_they_refer_to(bench: MigrationBench) -> None:
    ((gone,), (other,)) = bench.execute(f"{GONE} ORDER BY id LIMIT 2")
    ((kept,),) = bench.execute(f"SELECT id FROM patients WHERE id NOT IN ({GONE}) ORDER BY id LIMIT 1")  # noqa: S608
    bench.execute(
        "CREATE TABLE cards (id serial PRIMARY KEY, patient_id uuid UNIQUE REFERENCES patients, number integer);"
        "INSERT INTO cards (patient_id, number) VALUES (%s, 1), (%s, 2);"
        "ALTER TABLE patients ADD mother_id uuid REFERENCES patients,"
        " ADD last_letter uuid REFERENCES letters_patientletter;"
        "UPDATE patients SET mother_id = %s WHERE id = %s; UPDATE patients SET mother_id = %s WHERE id = %s;"
        "UPDATE patients p SET last_letter = l.id FROM letters_patientletter l WHERE l.patient_id = p.id",
        gone,
        kept,
        gone,
        kept,
        other,
        gone,
    )
    report = _there_and_back(bench)
    (cards,) = (table for table in report.tables if table.table == "cards")
    assert (cards.updated, cards.inserted) == (1, 0)


@pytest.mark.hard_case(20)
@pytest.mark.usefixtures("staged_once")
def test_a_column_that_cannot_be_updated_does_not_prevent_a_restore(bench: MigrationBench) -> None:
    bench.execute(
        "ALTER TABLE patients ADD number bigint GENERATED ALWAYS AS IDENTITY UNIQUE;"
        "ALTER TABLE letters_patientletter ADD number bigint GENERATED ALWAYS AS IDENTITY"
    )
    _there_and_back(bench)
