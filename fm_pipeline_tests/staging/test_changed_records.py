"""Building only what has changed gives what building everything gives."""

from __future__ import annotations

import datetime as dt
import random
import uuid

import pytest

from fm_pipeline.db.digest import Digest, table_digest
from fm_pipeline.db.table import Table
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline.staging.parallel import stage_all
from fm_pipeline.staging.run import forget
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME, MigrationBench
from fm_pipeline_tests.support.waiting import InThread, wait_until

# Of each table of FileMaker: a field of any text, and fields by which a record names another one.
FIELDS = {
    "Patients": ("coordinator_name", "dob", "clinic_name", "id"),
    "Contact_Details": ("mobile", "patient_id"),
    "Appointments": ("notes", "patient_id", "start_time", "clinician_name"),
    "Notes": ("note", "patient_id"),
    "Messages": ("message", "patient_id"),
    "Docs": ("patient_id", "id"),
    "Images": ("patient_id",),
}
VALUES = ("", "x", "2025-01-02", "nonsense")


def staged(bench: MigrationBench) -> dict[str, Digest]:
    """Digests of everything that staging has written, without the times and ids of the run."""
    tables = ("patients", "appointments", "notes", "sms_messages", "file_links", "outcomes", "findings", "builds")
    found = {}
    with bench.connection() as connection, connection.cursor() as cursor:
        for name in tables:
            without = ["built_at", "run_id"] if name == "builds" else []
            found[name] = table_digest(cursor, Table("fm_pipeline", f"staged_{name}"), without=without)
    return found


def disturb(bench: MigrationBench, rng: random.Random) -> None:
    """Edit, delete and double a few records of each table."""
    keys = [key for (key,) in bench.execute("SELECT filemaker_key FROM fm_pipeline.staged_patients ORDER BY 1")]
    for table, fields in FIELDS.items():
        ids = [
            record_id
            for (record_id,) in bench.execute(
                "SELECT record_id FROM fm_pipeline.source_records JOIN fm_pipeline.source_extractions USING (entity)"
                " WHERE layout = %s ORDER BY 1",
                f"API_{table}",
            )
        ]
        for record_id in rng.sample(ids, 3):
            field = rng.choice(fields)
            value = rng.choice(keys) if field in ("patient_id", "id") else rng.choice(VALUES)
            bench.store.edit(DATABASE, table, record_id, {field: value})
        bench.store.delete(DATABASE, table, rng.choice(ids))
        link = {} if table == "Patients" else {"patient_id": rng.choice(keys)}
        bench.store.insert(DATABASE, table, [{"id": str(uuid.UUID(int=rng.getrandbits(128))), **link}])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.usefixtures("reimported_once")
def test_after_any_edits_the_result_is_that_of_a_full_build(bench: MigrationBench, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    read_changes_and_stage(bench.settings, now=lambda: RUN_TIME)
    known = "SELECT count(*) FROM fm_pipeline.staged_outcomes WHERE inputs IS NOT NULL"
    assert bench.execute(known) == bench.execute("SELECT count(*) FROM fm_pipeline.source_records")
    for _ in range(2):
        disturb(bench, rng)
        bench.execute("UPDATE clinics SET updated_at = now()" if rng.random() < 0.3 else "SELECT 1")
        assert read_changes_and_stage(bench.settings, now=lambda: RUN_TIME + dt.timedelta(days=1))
        only_changed = staged(bench)
        stage_all(bench.settings, run_id=None, now=RUN_TIME + dt.timedelta(days=1), only_changed=False)
        assert only_changed == staged(bench)


@pytest.mark.usefixtures("reimported_once")
def test_a_document_that_has_gone_from_nexus_is_noticed_without_a_change_in_filemaker(bench: MigrationBench) -> None:
    settings = bench.with_settings(filemaker_door="odata").settings  # reads nothing again that was edited today
    read_changes_and_stage(settings)
    assert not read_changes_and_stage(settings)
    ((document, key),) = bench.execute(
        "SELECT d.id, d.filemaker_id FROM documents_document d JOIN fm_pipeline.staged_file_links l"
        " ON l.entity = 'document' AND l.filemaker_id::text = d.filemaker_id::text ORDER BY d.id LIMIT 1"
    )
    change = "UPDATE documents_document SET filemaker_id = %s WHERE id = %s"
    linked = "SELECT count(*) FROM fm_pipeline.staged_file_links WHERE entity = 'document' AND filemaker_id::text = %s"
    for given, links in ((None, 0), (key, 1)):
        bench.execute(change, given, document)
        assert read_changes_and_stage(settings)
        assert bench.execute(linked, str(key)) == [(links,)]
        assert not read_changes_and_stage(settings)


@pytest.mark.usefixtures("reimported_once")
def test_a_name_that_changes_in_nexus_while_a_build_reads_the_names_is_read_by_the_next_one(
    bench: MigrationBench,
) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'funding_sources'::regclass AND NOT granted"
    read_changes_and_stage(bench.settings, now=lambda: RUN_TIME)
    disturb(bench, random.Random(3))  # noqa: S311
    held = list[str]()
    with bench.connection() as holding, holding.cursor() as cursor:

        def hold(step: str, _done: int, _total: int | None) -> None:
            """Let the first build stop between the clinics and the sources of funding."""
            if step == "stage patients" and not held:
                held.append(step)
                cursor.execute("LOCK TABLE funding_sources IN ACCESS EXCLUSIVE MODE")

        a_day_later = RUN_TIME + dt.timedelta(days=1)
        reading = InThread(lambda: read_changes_and_stage(bench.settings, now=lambda: a_day_later, on_step=hold))
        wait_until(lambda: bench.execute(waiting) == [(1,)])
        bench.execute("UPDATE clinics SET name = name || ' (moved)'")
        holding.rollback()
    assert reading.outcome()
    assert read_changes_and_stage(bench.settings, now=lambda: a_day_later)
    only_changed = staged(bench)
    stage_all(bench.settings, run_id=None, now=a_day_later, only_changed=False)
    assert only_changed == staged(bench)


VERSIONS = "SELECT record_id, xmin::text FROM fm_pipeline.staged_notes ORDER BY 1"


@pytest.mark.usefixtures("reimported_once")
def test_only_records_that_changed_are_built(bench: MigrationBench) -> None:
    bench.extract_and_stage()
    before = bench.execute(VERSIONS)
    record_id, _ = before[0]
    bench.store.edit(DATABASE, "Notes", record_id, {"note": "Another text."})
    bench.extract_and_stage()
    assert set(bench.execute(VERSIONS)) - set(before) == {bench.execute(VERSIONS)[0]}


@pytest.mark.usefixtures("reimported_once")
def test_a_note_that_is_not_loaded_yet_is_compared_with_nexus_again(bench: MigrationBench) -> None:
    ((key,),) = bench.execute("SELECT filemaker_key FROM fm_pipeline.staged_patients ORDER BY 1 LIMIT 1")
    note = {"id": str(uuid.UUID(int=1)), "patient_id": key, "note": "A new note."}
    bench.store.insert(DATABASE, "Notes", [note | {"creationTimestamp": "01/15/2025 10:00:00"}])
    bench.extract_and_stage()
    ((there,),) = bench.execute(
        "INSERT INTO notes (id, created_at, updated_at, note_type, patient_id, content, created_by)"
        " SELECT gen_random_uuid(), source_created_at, now(), note_type, patient_id, content, created_by"
        " FROM fm_pipeline.staged_notes WHERE content = 'A new note.' RETURNING id"
    )
    bench.extract_and_stage()
    assert bench.execute("SELECT nexus_id FROM fm_pipeline.staged_notes WHERE content = 'A new note.'") == [(there,)]


@pytest.mark.usefixtures("reimported_once")
def test_everything_is_built_once_a_week_and_after_an_update_of_the_code(bench: MigrationBench) -> None:
    bench.extract_and_stage()
    for disturbance in ("fingerprint = 'of another release'", "whole_at = now() - interval '8 days'"):
        before = bench.execute(VERSIONS)
        bench.execute(f"UPDATE fm_pipeline.built_entities SET {disturbance}")  # noqa: S608
        bench.extract_and_stage()
        assert not set(bench.execute(VERSIONS)) & set(before)


@pytest.mark.usefixtures("reimported_once")
def test_a_finding_about_the_day_is_looked_at_again_on_another_day(bench: MigrationBench) -> None:
    (first, *_), *_ = bench.execute("SELECT record_id FROM fm_pipeline.staged_patients ORDER BY 1")
    tomorrow = (RUN_TIME + dt.timedelta(days=1)).date()
    bench.store.edit(DATABASE, "Patients", first, {"dob": f"{tomorrow:%m/%d/%Y}"})
    bench.extract_and_stage()
    found = "SELECT count(*) FROM fm_pipeline.staged_findings WHERE rule = 'dob_in_future' AND record_id = %s"
    for days, findings in ((0, 1), (3, 0)):
        stage_all(bench.settings, run_id=None, now=RUN_TIME + dt.timedelta(days=days))
        assert bench.execute(found, first) == [(findings,)]


@pytest.mark.usefixtures("reimported_once")
def test_an_entity_that_was_left_out_for_a_while_is_built_whole(bench: MigrationBench) -> None:
    bench.extract_and_stage()
    before = staged(bench)
    with bench.connection() as connection:
        forget(connection, "sms_message")
    bench.extract_and_stage()
    after = staged(bench)
    assert {**after, "builds": before["builds"]} == before  # a build names its extraction, which is another one
