"""A sync merges what changed in FileMaker with what users did in Nexus."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import pytest

from fm_pipeline.db import audit
from fm_pipeline.entities.registry import Phase
from fm_pipeline.errors import CatalogueStop, PlanStop, RequestError, StagingStop
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.reimport.report import PhaseRecord
from fm_pipeline.nexus.unexpected_patients import ERASURE
from fm_pipeline.sequence.planned_rows import read_planned_rows
from fm_pipeline.sequence.sync import sync_staged
from fm_pipeline.sequence.sync_with_emails import run_sync
from fm_pipeline.sequence.undo_sync import undo_sync
from fm_pipeline_tests.nexus.backup.restoring import backup, give_back
from fm_pipeline_tests.sequence.syncing import NIGHT, RECORDS, confirmed, coordinator, sync
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench
from fm_pipeline_tests.support.mail import mail_settings, mails_of, text_of
from fm_pipeline_tests.support.postgres import WITH_OWN_JSON
from fm_pipeline_tests.support.services import LazyStack
from fm_pipeline_tests.support.waiting import InThread, wait_until


def test_a_night_takes_changes_keeps_edits_and_waits_with_conflicts(synced: MigrationBench) -> None:
    (changed, edited, both, quiet) = synced.execute(RECORDS)
    before = synced.digests()
    assert sync(synced).status == "nothing_new"
    assert synced.digests() == before

    for patient, name in ((changed, "Fm One"), (both, "Fm Three")):
        synced.store.edit(DATABASE, "Patients", patient[1], {"coordinator_name": name})
    for patient, name in ((edited, "Nexus Two"), (both, "Nexus Three")):
        synced.execute("UPDATE patients SET coordinator_name = %s WHERE id = %s", name, patient[0])
    before = synced.digests()
    waits = sync(synced)
    assert (waits.status, [(each.nexus_id, each.column) for each in waits.conflicts]) == (
        "waits",
        [(both[0], "coordinator_name")],
    )
    assert synced.digests() == before
    done = confirmed(synced, waits)
    assert (done.status, done.report.changed_rows) == ("committed", 1)
    names = [coordinator(synced, each[0]) for each in (changed, edited, both)]
    assert names == ["Fm One", "Nexus Two", "Nexus Three"]
    assert {(each.nexus_id, each.decision) for each in done.decisions} == {(edited[0], "edit"), (both[0], "conflict")}

    with pytest.raises(PlanStop, match="No sync of that id waits"):
        confirmed(synced, waits)
    synced.store.edit(DATABASE, "Patients", quiet[1], {"coordinator_name": "Fm Four"})
    again = sync(synced, NIGHT + dt.timedelta(days=1))
    assert (again.status, again.report.changed_rows, again.conflicts) == ("committed", 1, [])
    assert {each.decision for each in again.decisions} == {"edit"}
    assert coordinator(synced, quiet[0]) == "Fm Four"


def test_an_appointment_is_not_made_of_the_start_of_one_side_and_the_end_of_the_other(synced: MigrationBench) -> None:
    ((record_id, nexus_id, start),) = synced.execute(
        "SELECT s.record_id, s.nexus_id::text, r.fields ->> 'start' FROM fm_pipeline.staged_appointments s"
        " JOIN appointments a ON a.id = s.nexus_id"
        " JOIN fm_pipeline.source_records r ON r.entity = 'appointment' AND r.record_id = s.record_id"
        " WHERE s.end_time IS NOT NULL AND r.fields ->> 'start' LIKE '____-__-__T__:__:__' ORDER BY 1 LIMIT 1"
    )
    earlier = dt.datetime.fromisoformat(start) - dt.timedelta(minutes=10)
    times = "SELECT start_time, end_time FROM appointments WHERE id = %s"
    synced.execute("UPDATE appointments SET end_time = end_time + interval '5 minutes' WHERE id = %s", nexus_id)
    before = synced.execute(times, nexus_id)
    synced.store.edit(DATABASE, "Appointments", record_id, {"start_time": earlier.isoformat()})
    waits = sync(synced)
    assert (waits.status, [each.column for each in waits.conflicts]) == ("waits", ["start_time"])
    confirmed(synced, waits)
    assert synced.execute(times, nexus_id) == before
    again = sync(synced)
    assert (again.status, sorted(each.decision for each in again.decisions)) == ("nothing_new", ["edit", "edit"])


def test_an_edited_value_stays_as_it_is_also_if_the_type_of_the_staged_column_holds_less(
    synced: MigrationBench,
) -> None:
    synced.execute("ALTER TABLE patients ALTER contact_json TYPE json, ALTER plan_start_date TYPE text")
    ((edited, record_id, _), *_) = synced.execute(RECORDS)
    assert sync(synced).status == "nothing_new"
    synced.execute(
        """UPDATE patients SET plan_start_date = 'in May', contact_json = '{"b":  1, "a": 2}' WHERE id = %s""",
        edited,
    )
    values = "SELECT plan_start_date, contact_json::text FROM patients WHERE id = %s"
    before = synced.execute(values, edited)
    synced.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
    assert sync(synced).status == "committed"
    assert synced.reimport(NIGHT).changed_rows == 0
    assert (synced.execute(values, edited), coordinator(synced, edited)) == (before, "Fm")


def test_a_full_reimport_keeps_what_a_sync_has_kept_unless_told_otherwise(synced: MigrationBench) -> None:
    (changed, edited, *_) = synced.execute(RECORDS)
    synced.execute("UPDATE patients SET coordinator_name = 'Nexus' WHERE id = %s", edited[0])
    synced.store.edit(DATABASE, "Patients", changed[1], {"coordinator_name": "Fm"})
    assert sync(synced).status == "committed"
    later = NIGHT + dt.timedelta(days=1)
    plan = synced.plan(later)
    ((kept),) = plan.report.kept_edits
    assert (kept["nexus_id"], kept["column"], kept["kept"]) == (edited[0], "coordinator_name", True)
    assert "Values edited in Nexus that stay: patient 1." in plan.report.as_markdown()
    assert read_planned_rows(synced.settings, plan.id, "patients", "change").ids == []
    assert synced.reimport(later).changed_rows == 0
    assert coordinator(synced, edited[0]) == "Nexus"
    replacing = synced.with_settings(nexus_sync_edits="replace")
    plan = replacing.plan(later)
    assert "Values edited in Nexus that would be replaced by FileMaker's: patient 1." in plan.report.losses
    planned = read_planned_rows(replacing.settings, plan.id, "patients", "change")
    assert [nexus_id for nexus_id, _ in planned.ids] == [edited[0]]
    report = replacing.reimport(later)
    assert (report.changed_rows, [each["kept"] for each in report.kept_edits]) == (1, [False])
    assert coordinator(synced, edited[0]) != "Nexus"


def test_an_edit_that_a_quiet_night_has_kept_is_kept_by_a_reimport_too(synced: MigrationBench) -> None:
    (edited, *_) = synced.execute(RECORDS)
    assert sync(synced).status == "nothing_new"
    synced.execute("UPDATE patients SET coordinator_name = 'Nexus' WHERE id = %s", edited[0])
    quiet = sync_staged(synced.settings, now=NIGHT, actor="bench", staged_again=False)
    assert (quiet.status, [each.decision for each in quiet.decisions]) == ("nothing_new", ["edit"])
    assert synced.reimport(NIGHT).changed_rows == 0
    assert coordinator(synced, edited[0]) == "Nexus"


def test_what_a_person_has_seen_does_not_wait_again_and_what_nobody_has_seen_is_not_done(
    synced: MigrationBench,
) -> None:
    (edited, *_) = synced.execute(RECORDS)
    message_id, record_id = synced.execute(
        "SELECT s.nexus_id::text, s.record_id FROM fm_pipeline.staged_sms_messages s"
        " JOIN sms_messages m ON m.id = s.nexus_id ORDER BY 2 LIMIT 1"
    )[0]
    synced.execute("DELETE FROM sms_messages WHERE id = %s", message_id)
    synced.store.edit(DATABASE, "Messages", record_id, {"message": "changed since"})
    synced.store.edit(DATABASE, "Patients", edited[1], {"coordinator_name": "Fm"})
    before = synced.digests()
    waits = sync(synced)
    assert [each.decision for each in waits.conflicts] == ["deleted_conflict"]
    ((name,),) = synced.execute("SELECT coordinator_name FROM patients WHERE id = %s", edited[0])
    synced.execute("UPDATE patients SET coordinator_name = 'Nexus' WHERE id = %s", edited[0])
    with pytest.raises(PlanStop, match="0 deletions and 1 conflict have been added"):
        confirmed(synced, waits)
    synced.execute("UPDATE patients SET coordinator_name = %s WHERE id = %s", name, edited[0])

    def stop(_: PhaseRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        confirmed(synced, waits, on_phase=stop)
    assert synced.digests() == before
    assert confirmed(synced, waits).status == "committed"
    again = sync(synced)
    assert (again.status, [each.decision for each in again.decisions]) == ("nothing_new", ["deleted_in_nexus"])

    synced.store.edit(DATABASE, "Patients", edited[1], {"coordinator_name": "Fm again"})
    with pytest.raises(KeyboardInterrupt):
        sync(synced, on_phase=stop)
    unstaged = sync_staged(synced.settings, now=NIGHT, actor="bench", staged_again=False)
    assert (unstaged.status, coordinator(synced, edited[0])) == ("committed", "Fm again")


def test_a_save_that_waits_for_the_locks_is_not_lost(synced: MigrationBench) -> None:
    changed, *_ = synced.execute(RECORDS)
    synced.store.edit(DATABASE, "Patients", changed[1], {"coordinator_name": "Fm"})
    saves: list[InThread] = []

    def save_meanwhile(record: PhaseRecord) -> None:
        if record.phase == Phase.PATIENTS:
            update = "UPDATE patients SET coordinator_name = 'Nexus' WHERE id = %s"
            saves.append(InThread(lambda: synced.execute(update, changed[0])))
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_until(lambda: bool(synced.execute(waits)))

    assert sync(synced, on_phase=save_meanwhile).status == "committed"
    saves[0].outcome()
    assert coordinator(synced, changed[0]) == "Nexus"
    assert [each.decision for each in sync(synced).decisions] == ["edit"]


def test_a_sync_is_undone_row_by_row_unless_a_row_was_saved_since(synced: MigrationBench) -> None:
    (changed, other, *_) = synced.execute(RECORDS)
    (message,) = synced.execute(
        "SELECT s.record_id, s.nexus_id::text FROM fm_pipeline.staged_sms_messages s"
        " JOIN sms_messages m ON m.id = s.nexus_id ORDER BY 1 LIMIT 1"
    )
    before = synced.digests()
    synced.store.edit(DATABASE, "Patients", changed[1], {"coordinator_name": "Fm"})
    synced.store.insert(DATABASE, "Notes", [{"id": str(uuid.uuid4()), "patient_id": other[2], "note": "A new note."}])
    synced.store.delete(DATABASE, "Messages", message[0])
    waits = sync(synced)
    assert waits.deletions == {"sms_message": [message[1]]}
    done = confirmed(synced, waits)
    assert done.report.changed_rows == 3
    after = synced.digests()
    assert after != before

    undo: dict[str, Any] = {"actor": "bench", "run_id": "undo"}
    (mine,) = synced.execute("SELECT updated_at, coordinator_name FROM patients WHERE id = %s", changed[0])
    synced.execute("UPDATE patients SET coordinator_name = 'Nexus' WHERE id = %s", changed[0])
    with pytest.raises(RequestError, match=changed[0]):
        undo_sync(synced.settings, done.id, **undo)
    synced.execute("UPDATE patients SET coordinator_name = %s WHERE id = %s", mine[1], changed[0])
    assert synced.digests() == after
    with pytest.raises(PlanStop, match="does not name this database"):
        undo_sync(synced.settings, done.id, confirm="", **undo)
    assert synced.digests() == after
    assert sum(undo_sync(synced.settings, done.id, confirm=done.confirmation, **undo).values()) == 3
    assert synced.digests() == before
    assert sync(synced).status == "nothing_new"


def test_a_sync_of_rows_with_columns_of_any_kind_is_undone(synced: MigrationBench) -> None:
    """Numbers that nobody may update, a % in a name, and types whose JSON PostgreSQL cannot read back.

    It is undone also if a table has got times without a zone, which FileMaker's values are not written into.
    """
    synced.execute(WITH_OWN_JSON)
    for table in ("patients", "sms_messages"):
        synced.execute(
            f'ALTER TABLE {table} ADD number bigint GENERATED ALWAYS AS IDENTITY, ADD "rate %" numeric,'
            " ADD told fm_told DEFAULT 'by post', ADD \"told %\" fm_told[] DEFAULT '{by phone,NULL}',"
            " ADD heard fm_heard DEFAULT 'by phone', ADD call fm_call DEFAULT '(2025-11-20,by phone)',"
            " ADD days integer[] DEFAULT '[0:1]={1,2}', ADD \"said %\" json DEFAULT 'null',"
            " ADD stay jsonb NOT NULL DEFAULT 'null'"
        )
    ((_, record_id, _), *_) = synced.execute(RECORDS)
    before = synced.digests()
    synced.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
    synced.store.delete(
        DATABASE, "Messages", synced.execute("SELECT min(record_id) FROM fm_pipeline.staged_sms_messages")[0][0]
    )
    done = confirmed(synced, sync(synced))
    assert done.report.changed_rows == 2
    times = "ALTER TABLE appointments ALTER start_time TYPE {} USING start_time AT TIME ZONE 'UTC'"
    synced.execute(times.format("timestamp"))
    with pytest.raises(CatalogueStop, match="times without their zone"):
        sync(synced)
    assert sum(undo_sync(synced.settings, done.id, actor="bench", run_id="undo").values()) == 2
    synced.execute(times.format("timestamptz"))
    assert synced.digests() == before


def test_a_sync_that_an_earlier_version_has_made_of_arrays_and_composite_values_is_undone(
    synced: MigrationBench,
) -> None:
    """It wrote them as arrays and objects of JSON, and not as text."""
    synced.execute(
        "CREATE TYPE fm_stay AS (at date, nights integer);"
        " ALTER TABLE patients ADD days integer[] DEFAULT '{1,2}', ADD stay fm_stay DEFAULT '(2025-11-20,3)'"
    )
    ((nexus_id, record_id, _), *_) = synced.execute(RECORDS)
    before = synced.digests()
    synced.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
    done = sync(synced)
    synced.execute(
        "UPDATE fm_pipeline.sync_changes SET before = row_to_json(json_populate_record(NULL::patients, before)),"
        " after = row_to_json(json_populate_record(NULL::patients, after))"
    )
    synced.execute("UPDATE patients SET days = '{2,1}' WHERE id = %s", nexus_id)
    with pytest.raises(RequestError, match=nexus_id):
        undo_sync(synced.settings, done.id, actor="bench", run_id="undo")
    synced.execute("UPDATE patients SET days = '{1,2}' WHERE id = %s", nexus_id)
    assert sum(undo_sync(synced.settings, done.id, actor="bench", run_id="undo").values()) == 1
    assert synced.digests() == before


def test_a_sync_of_which_an_earlier_version_did_not_say_where_null_is_jsons_is_undone(synced: MigrationBench) -> None:
    ((nexus_id, record_id, _), *_) = synced.execute(RECORDS)
    synced.execute("ALTER TABLE patients ADD said json DEFAULT 'null'")
    synced.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
    done = sync(synced)
    synced.execute(
        "UPDATE fm_pipeline.sync_changes SET before = (before::jsonb - 'json null')::json,"
        " after = (after::jsonb - 'json null')::json"
    )
    undo: dict[str, Any] = {"actor": "bench", "run_id": "undo"}
    synced.execute("UPDATE patients SET said = '1' WHERE id = %s", nexus_id)
    with pytest.raises(RequestError, match=nexus_id):
        undo_sync(synced.settings, done.id, **undo)
    synced.execute("UPDATE patients SET said = 'null' WHERE id = %s", nexus_id)
    assert sum(undo_sync(synced.settings, done.id, **undo).values()) == 1


def test_in_a_conflict_the_policy_of_the_column_decides_and_the_mail_says_that_it_waits(
    synced: MigrationBench, stack: LazyStack
) -> None:
    """FileMaker's time is the clinic's wall clock: 09:00 in Sydney was 22:00 UTC of the day before."""
    mail = {name: value for name, value in mail_settings(Path(), stack.mail.port) if name.startswith("smtp_")}
    bench, records = synced.with_settings(**mail), synced.execute(RECORDS)
    for number, (nexus_id, record_id, _) in enumerate(records):
        bench.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm", "middle_name": "Fm"})
        saved = "2025-11-20 21:59:59+00" if number % 2 else "2025-11-20 22:00:01+00"
        bench.execute(
            "UPDATE patients SET coordinator_name = 'Nexus', middle_names = 'Nexus', updated_at = %s WHERE id = %s",
            *(saved, nexus_id),
        )
    bench.extract_and_stage()
    known = [record_id for _, record_id, _ in records[:3]]  # of the last one the time is not known
    bench.execute(
        "UPDATE fm_pipeline.source_records SET modified = '2025-11-21T09:00:00'"
        " WHERE entity = 'patient' AND record_id = ANY(%s)",
        known,
    )
    policies = {"patient": {"coordinator_name": "newer", "middle_names": "filemaker"}}
    waits = sync_staged(bench.settings, now=NIGHT, actor="bench", policies=policies)
    assert (waits.status, len(waits.conflicts)) == ("waits", 8)
    confirmed(bench, waits, policies=policies)
    assert [coordinator(bench, nexus_id) for nexus_id, *_ in records] == ["Nexus", "Fm", "Nexus", "Nexus"]
    names = bench.execute(
        "SELECT DISTINCT middle_names FROM patients WHERE id::text = ANY(%s)", [r[0] for r in records]
    )
    assert names == [("Fm",)]

    bench.store.delete(DATABASE, "Messages", 1)
    run_id = str(uuid.uuid4())
    result = run_sync(bench.settings, actor="bench", run_id=run_id)
    ((text),) = [text_of(each) for each in mails_of(stack.mail, run_id)]
    assert text.startswith("The sync is waiting")
    assert f"fm-pipeline sync --plan {result.id} --confirm '{result.confirmation}'" in text
    assert "1 row would be deleted." in text


def test_from_a_sync_over_a_link_and_a_restore_to_the_next_reimport_nothing_is_lost(synced: MigrationBench) -> None:
    (changed, edited, quiet, *_) = synced.execute(RECORDS)
    folder, new = backup(synced), str(uuid.uuid4())
    assert give_back(synced, folder, dry_run=True).notes == [], (
        "no restored row, nothing that a sync could take for an edit"
    )
    ((before,),) = synced.execute("SELECT coordinator_name FROM patients WHERE id = %s", changed[0])
    synced.store.edit(DATABASE, "Patients", changed[1], {"coordinator_name": "Fm"})
    record = {"id": new, "first_name": "New", "last_name": "One", "clinic_name": "Newcastle"}
    synced.store.insert(DATABASE, "Patients", [record])
    synced.execute("UPDATE patients SET coordinator_name = 'Nexus' WHERE id = %s", edited[0])
    assert sync(synced).report.changed_rows == 2
    patient = "SELECT nexus_id::text FROM fm_pipeline.crosswalk WHERE entity = 'patient' AND filemaker_key = %s"
    ((linked,),) = synced.execute(patient, new)
    batch = (
        "INSERT INTO images_batch SELECT gen_random_uuid(), id, %s, 'x', '', NULL, now(), 0 FROM django_content_type"
    )
    for owner in (linked, edited[0]):
        synced.execute(f"{batch} WHERE model = 'patient' AND app_label = 'patients'", owner)
    ((batches,),) = synced.execute("SELECT count(*) FROM images_batch")
    with pytest.raises(BackupStop, match=r"1 row of images_batch"):
        give_back(synced, folder)
    detail = f"{ERASURE.format(quiet[2])}."
    audit.record(synced.database_url, actor="bench", action="prune", outcome="done", detail=detail)
    notes = give_back(synced, folder, newer="set-aside").notes
    assert [note for note in notes if f"who had been erased is in Nexus again: {quiet[0]}." in note]
    assert [note for note in notes if note.startswith("A sync takes the restored values for edits")]
    assert coordinator(synced, edited[0]) != "Nexus"
    again = sync(synced)
    kept = {(each.nexus_id, each.decision) for each in again.decisions}
    assert (again.status, kept) == ("nothing_new", {(changed[0], "edit"), (linked, "deleted_in_nexus")})

    report = synced.reimport(NIGHT)
    assert (report.changed_rows, [each["nexus_id"] for each in report.kept_edits]) == (1, [changed[0]])
    assert synced.execute("SELECT id::text FROM patients WHERE last_name = 'One' AND first_name = 'New'") == [(linked,)]
    assert coordinator(synced, changed[0]) == before
    assert synced.with_settings(nexus_sync_edits="replace").reimport(NIGHT).changed_rows == 1
    assert (sync(synced).status, coordinator(synced, changed[0])) == ("nothing_new", "Fm")
    aside = synced.execute("SELECT count(*) FROM fm_pipeline.set_aside_rows WHERE table_name = 'images_batch'")
    assert (aside, synced.execute("SELECT count(*) FROM images_batch")) == ([(1,)], [(batches - 1,)])


def test_a_source_that_has_shrunk_deletes_nothing(synced: MigrationBench) -> None:
    """An account that sees half of the messages is no reason to delete the others, also not after a confirmation."""
    before = synced.digests()
    messages = synced.execute("SELECT record_id FROM fm_pipeline.staged_sms_messages ORDER BY 1")
    for (record_id,) in messages[::2]:
        synced.store.delete(DATABASE, "Messages", record_id)
    with pytest.raises(StagingStop, match="source_shrunk"):
        sync(synced)
    assert synced.digests() == before
    assert synced.execute("SELECT count(*) FROM fm_pipeline.syncs") == [(0,)]
