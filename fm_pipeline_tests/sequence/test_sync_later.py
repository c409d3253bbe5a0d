"""What a sync meets when a neighbour is not what it was: patients who come back, ids used again, a migrated Nexus."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from fm_pipeline.db.audit import record
from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline.errors import PlanStop, RequestError
from fm_pipeline.nexus.reimport.report import PhaseRecord
from fm_pipeline.nexus.sync.syncs import read_undone
from fm_pipeline.nexus.unexpected_patients import ERASURE
from fm_pipeline.sequence.undo_sync import undo_sync
from fm_pipeline.status.history import HistoryFilter, read_history, valid_dry_restore
from fm_pipeline.status.syncs import SyncOfRun, read_sync, read_undoable_id, sync_of_run
from fm_pipeline_tests.sequence.syncing import NIGHT, RECORDS, confirmed, coordinator, sync
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def add_backup(bench: MigrationBench) -> str:
    """Record a backup that is made now; return its id."""
    ((backup,),) = bench.execute(
        "INSERT INTO fm_pipeline.backups (id, created_at, folder, encrypted, bytes, digests, verified_at)"
        " VALUES (gen_random_uuid(), clock_timestamp(), 'x', false, 1, '{}', clock_timestamp()) RETURNING id::text"
    )
    return str(backup)


def test_a_patient_who_was_erased_and_one_who_becomes_another_person_wait(synced: MigrationBench) -> None:
    ((person, record_id, _), *_), erased = synced.execute(RECORDS), str(uuid.uuid4())
    back = {"id": erased.upper(), "first_name": "Come", "last_name": "Back", "clinic_name": "Newcastle"}
    synced.store.insert(DATABASE, "Patients", [back])
    detail = f"{ERASURE.format(erased)}."
    record(synced.database_url, actor="bench", action="prune", outcome="done", detail=detail)
    other = {"first_name": "Another", "last_name": "Person"}
    synced.store.edit(DATABASE, "Patients", record_id, other)
    waits = sync(synced)
    ((nexus_id,),) = synced.execute("SELECT nexus_id::text FROM fm_pipeline.staged_patients WHERE last_name = 'Back'")
    assert (waits.status, waits.report.erased, waits.report.other_people) == ("waits", [nexus_id], [])
    synced.store.edit(DATABASE, "Patients", record_id, {"dob": "1999-01-02"})
    waits = sync(synced)
    assert (waits.report.erased, waits.report.other_people) == ([nexus_id], [person])
    assert waits.why == [
        f"1 patient who was erased would come back, because FileMaker has the record again: {nexus_id}.",
        "1 patient would become another person: first name, last name and date of birth would have all changed, and"
        f" everything in Nexus stays with the row. Perhaps FileMaker has used an id again: {person}.",
    ]
    assert synced.plan(NIGHT).report.losses[:2] == waits.why
    done = confirmed(synced, waits)
    assert (done.status, done.report.changed_rows) == ("committed", 2)
    assert sync(synced).status == "nothing_new"


def test_a_sync_is_undone_after_a_migration_that_added_a_column_and_not_after_one_that_may_have_renamed_one(
    synced: MigrationBench,
) -> None:
    ((record_id, message_id),) = synced.execute(
        "SELECT s.record_id, s.nexus_id::text FROM fm_pipeline.staged_sms_messages s"
        " JOIN sms_messages m ON m.id = s.nexus_id ORDER BY 1 LIMIT 1"
    )
    ((_, patient, _), *_) = synced.execute(RECORDS)
    delivered = "SELECT delivered_at FROM sms_messages WHERE id = %s"
    synced.execute("UPDATE sms_messages SET delivered_at = now()")
    before = synced.execute(delivered, message_id)
    synced.store.delete(DATABASE, "Messages", record_id)
    synced.store.edit(DATABASE, "Patients", patient, {"coordinator_name": "Fm"})
    done = confirmed(synced, sync(synced))
    synced.execute(
        "ALTER TABLE sms_messages RENAME delivered_at TO arrived_at;"
        " ALTER TABLE patients ADD said text NOT NULL DEFAULT 'x'"
    )
    with pytest.raises(RequestError, match=r"no column delivered_at any more, and has got arrived_at"):
        undo_sync(synced.settings, done.id, actor="bench", run_id="undo")
    synced.execute("ALTER TABLE sms_messages RENAME arrived_at TO delivered_at")
    assert undo_sync(synced.settings, done.id, actor="bench", run_id="undo") == {
        "patients": 1,
        "sms_messages": 1,
    }
    assert synced.execute(delivered, message_id) == before
    assert synced.execute("SELECT DISTINCT said FROM patients") == [("x",)]


def test_a_sync_that_waits_is_not_confirmed_if_the_profile_has_another_policy_since(synced: MigrationBench) -> None:
    ((edited, record_id, _), *_) = synced.execute(RECORDS)
    synced.execute("UPDATE patients SET coordinator_name = 'Nexus' WHERE id = %s", edited)
    synced.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
    waits = sync(synced)
    assert [each.kept for each in waits.conflicts] == [True]
    with pytest.raises(PlanStop, match="a setting that decides what happens to rows was changed"):
        confirmed(synced, waits, policies={"patient": {"coordinator_name": "filemaker"}})
    assert coordinator(synced, edited) == "Nexus"


def test_a_sync_that_a_restore_has_undone_is_not_offered_to_be_undone_again(synced: MigrationBench) -> None:
    ((_, record_id, _), *_), url = synced.execute(RECORDS), synced.database_url
    synced.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
    done = sync(synced, run_id="the sync")
    assert (done.status, read_undoable_id(url)) == ("committed", done.id)
    assert sync_of_run(url, "the sync") == SyncOfRun("committed", 1, None, is_newest=True)
    assert sync_of_run(url, "another") is None
    ((backup,),) = synced.execute("SELECT id::text FROM fm_pipeline.backups ORDER BY number LIMIT 1")
    store_run_report(url, "restoring", "restore", {}, subject=backup)
    assert read_undoable_id(url) is None
    assert (found := sync_of_run(url, "the sync"))
    assert found.undone is not None
    with pytest.raises(RequestError, match="A restore has undone this sync"):
        undo_sync(synced.settings, done.id, actor="bench", run_id="undo")


def test_a_sync_that_a_person_has_undone_and_a_later_restore_has_brought_back_is_not_said_to_be_undone(
    synced: MigrationBench,
) -> None:
    ((person, record_id, _), *_), url = synced.execute(RECORDS), synced.database_url
    ((before,),) = synced.execute("SELECT id::text FROM fm_pipeline.backups ORDER BY number LIMIT 1")
    synced.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
    done = sync(synced, run_id="the sync")
    with_sync = add_backup(synced)
    store_run_report(url, "tried", "restore", {}, dry_run=True, subject=before)
    assert valid_dry_restore(url, before)["run_id"] == "tried"
    undo_sync(synced.settings, done.id, actor="bench", run_id="undo")

    def answers() -> tuple[object, ...]:
        found, (attempts, _) = read_sync(url, done.id), read_history(url, HistoryFilter(kind="sync"))
        by_restore = any(each["undone"] for each in attempts)
        with synced.connection() as connection, connection.cursor() as cursor:
            told = read_undone(cursor, LONG_AGO) != []
        run = sync_of_run(url, "the sync")
        assert run
        return (
            read_undoable_id(url),
            found.undone_at is not None,
            found.undone_by is not None,
            by_restore,
            told,
            run.undone,
        )

    assert answers() == (None, True, False, False, True, "person")
    assert valid_dry_restore(url, before) is None, "the undo has changed Nexus since"
    without = add_backup(synced)
    store_run_report(url, "bringing back", "restore", {}, subject=with_sync)
    synced.execute(
        "UPDATE patients p SET coordinator_name = 'Fm', updated_at = (c.after ->> 'updated_at')::timestamptz"
        " FROM fm_pipeline.sync_changes c WHERE c.row_id = p.id::text AND p.id = %s",
        person,
    )
    assert answers() == (done.id, False, False, False, False, None)
    store_run_report(url, "as after the undo", "restore", {}, subject=without)
    assert answers() == (None, True, False, False, True, "person")
    store_run_report(url, "as before the sync", "restore", {}, subject=before)
    assert answers()[:-1] == (None, False, True, True, False)
    store_run_report(url, "bringing back again", "restore", {}, subject=with_sync)
    ((stored,),) = synced.execute(
        "SELECT before FROM fm_pipeline.sync_changes c WHERE c.row_id = %s AND c.sync_id = %s", person, done.id
    )
    undo_sync(synced.settings, done.id, actor="bench", run_id="undo again")
    assert coordinator(synced, person) == stored["coordinator_name"]
    assert answers()[-1] == "person"


def test_an_earlier_undo_is_the_only_one_if_a_restore_has_taken_the_later_one_back(synced: MigrationBench) -> None:
    ((_, first, _), (_, second, _), *_), url = synced.execute(RECORDS), synced.database_url

    def sync_of(record_id: int) -> str:
        synced.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
        done = sync(synced)
        assert done.status == "committed"
        return done.id

    def undone() -> list[str]:
        with synced.connection() as connection, connection.cursor() as cursor:
            return [each.id for each in read_undone(cursor, LONG_AGO)]

    earlier = sync_of(first)
    undo_sync(synced.settings, earlier, actor="bench", run_id="undo")
    later = sync_of(second)
    with_later = add_backup(synced)
    undo_sync(synced.settings, later, actor="bench", run_id="undo the later one")
    assert undone() == [later, earlier]
    store_run_report(url, "bringing the later one back", "restore", {}, subject=with_later)
    assert undone() == [earlier]


def test_a_restore_of_a_backup_that_was_made_while_a_sync_worked_has_undone_the_sync(synced: MigrationBench) -> None:
    """The sync has taken its time before it read FileMaker, and the backup does not have what it committed."""
    ((_, record_id, _), *_), url = synced.execute(RECORDS), synced.database_url
    synced.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
    backups = list[str]()

    def back_up(record: PhaseRecord) -> None:
        if record.phase == 2:
            backups.append(add_backup(synced))

    done = sync(synced, on_phase=back_up)
    assert (done.status, read_undoable_id(url)) == ("committed", done.id)
    store_run_report(url, "restoring", "restore", {}, subject=backups[0])
    assert read_undoable_id(url) is None
