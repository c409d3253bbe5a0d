"""A file of FileMaker that was restored from a backup is noticed, whatever its name and its server."""

from __future__ import annotations

import datetime as dt

import pytest

from fm_pipeline.entities.registry import Phase
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sequence.sync import sync_staged
from fm_pipeline.staging.origin import SourceWentBack, refuse_earlier_times
from fm_pipeline_tests.sequence.nights_clinic import Clinic
from fm_pipeline_tests.sequence.nights_systems import LAYOUTS
from fm_pipeline_tests.staging.bench import Staging
from fm_pipeline_tests.staging.changing import edit, first, known, read, rename_file
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME


@pytest.fixture
def clinic(clinic_read_before: Clinic) -> Clinic:
    """A clinic whose records were read whole at RUN_TIME."""
    return clinic_read_before


def put_back(clinic: Clinic, kind: str, before: list[tuple[object, ...]]) -> None:
    """Give a table the rows of a backup, and the next record the id that follows them."""
    store, table = clinic.bench.store, clinic.bench.store.table(DATABASE, LAYOUTS[kind])
    with store.transaction() as db:
        db.execute(f"DELETE FROM {table.rows}")  # noqa: S608  # our own names
        marks = ", ".join("?" * len(before[0]))
        db.executemany(f"INSERT INTO {table.rows} VALUES ({marks})", before)  # noqa: S608
        db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (before[-1][0], table.rows))


def rows_of(clinic: Clinic, kind: str) -> list[tuple[object, ...]]:
    table = clinic.bench.store.table(DATABASE, LAYOUTS[kind])
    with clinic.bench.store.reading() as db:
        return [tuple(row) for row in db.execute(f"SELECT * FROM {table.rows} ORDER BY record_id")]  # noqa: S608


@pytest.mark.parametrize("door", ["data_api", "odata"])
def test_an_edit_that_a_file_restored_from_a_backup_does_not_have_waits_for_a_person(clinic: Clinic, door: str) -> None:
    patient, other, *_ = clinic.model.of("patient")
    clinic.bench = clinic.bench.with_settings(filemaker_door=door)
    read(clinic, 0)
    backup = rows_of(clinic, "patient")
    edit(clinic, patient, "last_name", "lost", "2025-11-20T09:00:00")
    edit(clinic, other, "last_name", "lost", "2025-11-20T09:00:00")
    assert read(clinic, 0.5)
    put_back(clinic, "patient", backup)
    edit(clinic, other, "last_name", "again", "2025-11-21T09:00:00")  # as often as before
    now = RUN_TIME + dt.timedelta(days=1)
    assert read(clinic, 1)
    assert clinic.bench.execute("SELECT DISTINCT whole_at FROM fm_pipeline.source_readings") == [(now,)]
    names = known(clinic, "patient", "last_name")
    assert (names[patient.record_id], names[other.record_id]) == (patient.fm["last_name"], "again")  # type: ignore[index]
    if door == "data_api":
        return
    waits = sync_staged(clinic.bench.settings, now=now, actor="bench")
    assert (waits.status, len(waits.why), "restored from a backup" in waits.why[0]) == ("waits", 1, True)
    permission = Permission(waits.id, waits.confirmation, "bench")
    sync_staged(clinic.bench.settings, now=now, actor="bench", permission=permission)
    edit(clinic, other, "last_name", "later", "2025-11-22T09:00:00")
    assert read(clinic, 2)
    assert sync_staged(clinic.bench.settings, now=now, actor="bench").status == "committed"


def test_a_restored_file_is_remembered_until_every_layout_was_read_whole_and_committed(clinic: Clinic) -> None:
    first_patient, *_ = clinic.model.of("patient")
    backup = rows_of(clinic, "patient")
    edit(clinic, first_patient, "last_name", "lost", "2025-11-20T09:00:00")
    clinic.bench.extract_and_stage()
    put_back(clinic, "patient", backup)
    went_back = "SELECT DISTINCT went_back_at IS NULL FROM fm_pipeline.source_readings"
    clinic.bench.extract_and_stage().reimport(phases=[Phase.APPOINTMENTS, Phase.VALIDATION])
    assert clinic.bench.execute(went_back) == [(False,)]
    clinic.bench.extract_and_stage().reimport()
    assert clinic.bench.execute(went_back) == [(True,)]


def offered_as(clinic: Clinic, name: str) -> None:
    """Give FileMaker's file another name, in the settings too."""
    rename_file(clinic.bench.store, name)
    clinic.bench = clinic.bench.with_settings(filemaker_database=name)


@pytest.mark.parametrize("door", ["data_api", "odata"])
def test_a_backup_that_is_offered_under_another_name_waits_for_a_person(clinic: Clinic, door: str) -> None:
    patient = first(clinic, "patient")
    clinic.bench = clinic.bench.with_settings(filemaker_door=door)
    read(clinic, 0)
    backup = rows_of(clinic, "patient")
    edit(clinic, patient, "last_name", "lost", "2025-11-20T09:00:00")
    assert read(clinic, 0.5)
    put_back(clinic, "patient", backup)
    edit(clinic, patient, "last_name", "again", "2025-11-21T09:00:00")  # as often as before
    offered_as(clinic, "clinic of Friday")
    now = RUN_TIME + dt.timedelta(days=1)
    assert read(clinic, 1)
    assert known(clinic, "patient", "last_name")[patient.record_id] == "again"
    waits = sync_staged(clinic.bench.settings, now=now, actor="bench")
    assert (waits.status, len(waits.why), "FILEMAKER_DATABASE" in waits.why[0]) == ("waits", 1, True)
    sync_staged(
        clinic.bench.settings, now=now, actor="bench", permission=Permission(waits.id, waits.confirmation, "bench")
    )
    clinic.bench = clinic.bench.with_settings(filemaker_database="clinic of Friday.fmp12")  # the same file
    read(clinic, 2)
    assert sync_staged(clinic.bench.settings, now=now, actor="bench").status == "nothing_new"


def test_a_file_restored_on_another_server_is_noticed_by_its_versions(clinic: Clinic) -> None:
    patient, other, *_ = clinic.model.of("patient")
    backup = rows_of(clinic, "patient")
    for each in (patient, other):
        edit(clinic, each, "last_name", "lost", "2025-11-20T09:00:00")
    assert read(clinic, 0.5)
    put_back(clinic, "patient", backup)
    edit(clinic, other, "last_name", "again", "2025-11-21T09:00:00")
    elsewhere = str(clinic.bench.settings.filemaker_url).replace("127.0.0.1", "localhost")
    clinic.bench = clinic.bench.with_settings(filemaker_url=elsewhere)
    assert read(clinic, 1)
    waits = sync_staged(clinic.bench.settings, now=RUN_TIME + dt.timedelta(days=1), actor="bench")
    assert (waits.status, "restored from a backup" in waits.why[0]) == ("waits", True)


@pytest.mark.parametrize("door", ["data_api", "odata"])
def test_a_record_with_the_id_of_one_that_a_restored_file_has_lost_is_read(clinic: Clinic, door: str) -> None:
    clinic.bench = clinic.bench.with_settings(filemaker_door=door)
    read(clinic, 0)
    backup, note = rows_of(clinic, "note"), {"modified": "2025-11-20T09:00:00"}
    clinic.bench.store.insert(DATABASE, "Notes", [note | {"id": f"LOST-{n}", "content": "lost"} for n in range(3)])
    assert read(clinic, 0.5)
    put_back(clinic, "note", backup)
    clinic.bench.store.insert(DATABASE, "Notes", [note | {"id": "MADE-AGAIN", "content": "another"}])
    assert read(clinic, 1)
    contents = [*known(clinic, "note", "content").values()]
    assert (contents.count("lost"), contents.count("another"), len(contents)) == (0, 1, len(backup) + 1)


# Midnight and noon, nights in which the clock of Sydney is set, and hours of two digits.
@pytest.mark.parametrize(
    ("since", "earlier", "later"),
    [
        ("2025-11-20", "11/19/2025 11:59 PM", "11/20/2025 12:00 AM"),
        ("2025-11-20", "11/19/2025 12:00 PM", "11/20/2025 12:00 PM"),
        ("2025-11-20", "11/19/2025 10:05 AM", "11/21/2025 01:05 AM"),
        ("2025-04-06", "04/05/2025 11:59 PM", "04/06/2025 02:30 AM"),
        ("2025-10-05", "10/04/2025 11:59 PM", "10/05/2025 02:30 AM"),
        ("2026-01-01", "12/31/2025 11:59 PM", "01/01/2026 12:00 AM"),
        ("2025-02-01", "12/31/2024 11:59 PM", "02/01/2025"),
        ("2025-11-20", "2025-11-19T23:59:59", "2025-11-20T00:00:00"),
    ],
)
def test_american_times_of_modification_are_compared_by_their_day(
    staging: Staging, since: str, earlier: str, later: str
) -> None:
    staging.extract("note", [{"filemaker_id": "A"}, {"filemaker_id": "B"}])
    day = dt.date.fromisoformat(since)
    with staging.connection.cursor() as cursor:
        for record_id, modified in ((1, earlier), (2, later)):
            cursor.execute(
                "UPDATE fm_pipeline.source_records SET modified = %s WHERE record_id = %s", (modified, record_id)
            )
        refuse_earlier_times(cursor, "note", day, [2])  # only the later one has to be found
        with pytest.raises(SourceWentBack):
            refuse_earlier_times(cursor, "note", day, [1])
