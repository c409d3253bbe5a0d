"""Other people at work: users of the application, a second reimport, a connection that is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from pydantic import SecretStr

from fm_pipeline.entities.registry import Phase
from fm_pipeline.errors import DatabaseError, LockStop, PlanStop, StagingStop
from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.nexus.reimport.report import PhaseRecord
from fm_pipeline.sequence.reimport import reimport
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, small_clinic
from fm_pipeline_tests.support.proxies.proxy import Moment, cutting_proxy
from fm_pipeline_tests.support.waiting import LIMIT_SECONDS, InThread, wait_until

SAVE_A_DOCUMENT = """
INSERT INTO documents_document SELECT (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid(),
  'filemaker_id', NULL))).* FROM documents_document d ORDER BY id LIMIT 1
"""


def _waiters(bench: MigrationBench) -> bool:
    return bool(bench.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))


def _documents(bench: MigrationBench) -> int:
    ((rows,),) = bench.execute("SELECT count(*) FROM documents_document")
    return int(rows)


@pytest.mark.hard_case(11)
@pytest.mark.usefixtures("staged_once")
def test_a_document_saved_during_the_transaction_waits_and_is_neither_lost_nor_orphaned(
    bench: MigrationBench,
) -> None:
    before = _documents(bench)
    saves: list[InThread] = []

    def save_meanwhile(record: PhaseRecord) -> None:
        if record.phase == Phase.DELETE:
            saves.append(InThread(lambda: bench.execute(SAVE_A_DOCUMENT)))
            wait_until(lambda: _waiters(bench), LIMIT_SECONDS)

    bench.reimport(on_phase=save_meanwhile)
    saves[0].outcome()
    assert _documents(bench) == before + 1
    orphans = "SELECT count(*) FROM documents_document WHERE object_id NOT IN (SELECT id FROM patients)"
    assert bench.execute(orphans) == [(0,)]


@pytest.mark.hard_case(11)
@pytest.mark.usefixtures("staged_once")
def test_a_document_saved_just_before_the_locks_is_in_the_snapshot(bench: MigrationBench) -> None:
    """The writer commits while the reimport waits for the lock; its row must be seen, not lost by an old snapshot."""
    before = _documents(bench)
    with bench.connection() as user, user.cursor() as cursor:
        cursor.execute(SAVE_A_DOCUMENT)
        planning = InThread(bench.plan)
        wait_until(lambda: _waiters(bench), LIMIT_SECONDS)
        user.commit()
        plan = planning.outcome()
    assert plan.report.documents.total == before + 1


@pytest.mark.hard_case(17)
@pytest.mark.usefixtures("staged_once")
def test_a_save_between_the_preparation_and_the_locks_makes_the_plan_stale(bench: MigrationBench) -> None:
    permission = bench.permission(bench.plan())
    make_backup(bench.settings, now=RUN_TIME)
    with bench.connection() as user, user.cursor() as cursor:
        # Neither a number of rows nor a time tells of it; the reimport has hashed the table already and waits.
        cursor.execute("UPDATE notes SET content = content || '.' WHERE id = (SELECT min(id::text)::uuid FROM notes)")
        running = InThread(lambda: reimport(bench.settings, now=RUN_TIME, permission=permission))
        wait_until(lambda: _waiters(bench), LIMIT_SECONDS)
        user.commit()
        after = bench.digests()
        with pytest.raises(PlanStop, match=r"stale: rows of Nexus changed \(notes\)"):
            running.outcome()
    assert bench.digests() == after


@pytest.mark.usefixtures("staged_once")
def test_staging_again_while_a_reimport_waits_for_its_locks_stops_it(bench: MigrationBench) -> None:
    with bench.connection() as user, user.cursor() as cursor:
        cursor.execute("UPDATE notes SET content = content")
        planning = InThread(bench.plan)
        wait_until(lambda: _waiters(bench), LIMIT_SECONDS)
        bench.extract_and_stage()
        user.commit()
        with pytest.raises(StagingStop, match="staged again while this was being prepared"):
            planning.outcome()


def test_a_long_transaction_of_another_session_only_costs_a_second_hash(bench: MigrationBench) -> None:
    # Everything that was written since it began looks as if it might have been written just now.
    with bench.connection() as user, user.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
        bench.extract_and_stage()
        assert bench.reimport().committed


@pytest.mark.hard_case(12)
@pytest.mark.usefixtures("staged_once")
def test_a_session_that_has_locked_a_row_is_named_and_nothing_changes(bench: MigrationBench) -> None:
    bench = bench.with_settings(nexus_lock_timeout_seconds=0.5)
    before = bench.digests()
    with closing(psycopg2.connect(bench.database_url, application_name="Nexus web")) as user, user.cursor() as cursor:
        cursor.execute("SELECT first_name FROM patients FOR UPDATE")
        ((name,),) = bench.execute("SELECT max(first_name) FROM patients")
        with pytest.raises(LockStop) as caught:
            bench.plan()
        assert f"process {user.info.backend_pid} (Nexus web" in str(caught.value)
        assert name not in str(caught.value)
    assert bench.digests() == before


@pytest.mark.hard_case(12)
@pytest.mark.usefixtures("staged_once")
def test_a_session_that_has_written_is_waited_for_and_named(bench: MigrationBench) -> None:
    bench = bench.with_settings(nexus_lock_timeout_seconds=0.5)
    with closing(psycopg2.connect(bench.database_url, application_name="Nexus web")) as user, user.cursor() as cursor:
        cursor.execute("UPDATE notes SET content = content")
        with pytest.raises(LockStop, match=r"Nexus web.*unchanged"):
            bench.plan()


@pytest.mark.hard_case(13)
@pytest.mark.usefixtures("staged_once")
def test_the_second_of_two_reimports_refuses_at_once(bench: MigrationBench) -> None:
    refusals: list[BaseException] = []

    def second(record: PhaseRecord) -> None:
        if record.phase == Phase.PATIENTS:
            with pytest.raises(LockStop, match="Another reimport") as caught:
                bench.plan()
            refusals.append(caught.value)

    bench.reimport(on_phase=second)
    assert len(refusals) == 1
    assert bench.differences(small_clinic().expected()) == []


@pytest.mark.usefixtures("staged_once")
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.hard_case(15)
def test_a_connection_lost_exactly_at_commit_is_decided_by_asking(bench: MigrationBench, moment: Moment) -> None:
    permission = bench.permission(bench.plan())
    make_backup(bench.settings, now=RUN_TIME)
    before = bench.digests()
    arm = threading.Event()
    target = psycopg2.extensions.parse_dsn(bench.database_url)

    def at_the_end(record: PhaseRecord) -> None:
        if record.phase == Phase.VALIDATION:
            arm.set()

    with cutting_proxy(target["host"], int(target["port"]), moment, arm=arm) as port:
        url = SecretStr(bench.database_url.replace(f":{target['port']}/", f":{port}/"))
        settings = bench.settings.model_copy(update={"nexus_database_url": url})
        if moment == "before":
            with pytest.raises(DatabaseError, match="The server says that the transaction was not committed"):
                reimport(settings, now=RUN_TIME, permission=permission, on_phase=at_the_end)
            assert bench.digests() == before
        else:
            assert reimport(settings, now=RUN_TIME, permission=permission, on_phase=at_the_end).committed
            assert bench.differences(small_clinic().expected()) == []
    assert not arm.is_set()


@pytest.mark.hard_case(16)
@pytest.mark.usefixtures("staged_once")
def test_a_missing_grant_is_an_error_that_names_the_table(bench: MigrationBench) -> None:
    """The preflight finds it earlier; this is the last line."""
    before = bench.digests()
    role = f"weak_{bench.database_url.rsplit('/', 1)[1]}"
    bench.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'weak'; GRANT USAGE ON SCHEMA fm_pipeline, public TO {role};"
        f" GRANT ALL ON ALL TABLES IN SCHEMA fm_pipeline TO {role};"
        f" GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    )
    target = psycopg2.extensions.parse_dsn(bench.database_url)
    url = SecretStr(f"postgresql://{role}:weak@{target['host']}:{target['port']}/{target['dbname']}")
    try:
        with pytest.raises(DatabaseError, match="Grant the privilege"):
            bench.with_settings(nexus_database_url=url).plan()
        assert bench.digests() == before
    finally:
        bench.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.hard_case(17)
@pytest.mark.usefixtures("staged_once")
def test_a_plan_is_stale_when_a_patient_was_edited(bench: MigrationBench) -> None:
    permission = bench.permission(bench.plan())
    bench.execute("UPDATE patients SET mrn = 'edited' WHERE id = (SELECT min(id::text)::uuid FROM patients)")
    _refused(bench, permission, "stale: rows of Nexus changed .patients.")


@pytest.mark.hard_case(17)
@pytest.mark.usefixtures("staged_once")
def test_a_plan_is_stale_when_filemaker_has_changed(bench: MigrationBench) -> None:
    permission = bench.permission(bench.plan())
    bench.store.edit("clinic", "Notes", 1, {"note": "Somebody has just typed this."})
    bench.extract_and_stage()
    _refused(bench, permission, "stale: FileMaker's data changed .notes.")


@pytest.mark.hard_case(17)
@pytest.mark.usefixtures("staged_once")
def test_a_plan_is_stale_when_a_migration_ran(bench: MigrationBench) -> None:
    permission = bench.permission(bench.plan())
    bench.execute("ALTER TABLE audit_log ADD COLUMN more text")
    _refused(bench, permission, "stale: the tables of Nexus are not what they were")


@pytest.mark.hard_case(17)
@pytest.mark.usefixtures("staged_once")
def test_a_plan_is_stale_when_a_setting_changed(bench: MigrationBench) -> None:
    permission = bench.permission(bench.plan())
    _refused(bench.with_settings(nexus_only_columns="reset"), permission, "a setting")


@pytest.mark.hard_case(17)
@pytest.mark.usefixtures("staged_once")
def test_a_plan_is_good_for_one_run_of_its_own_phases(bench: MigrationBench) -> None:
    permission = bench.permission(bench.plan())
    make_backup(bench.settings, now=RUN_TIME)
    with pytest.raises(PlanStop, match="not for patients"):
        reimport(bench.settings, now=RUN_TIME, permission=permission, phases=[Phase.PATIENTS])
    reimport(bench.settings, now=RUN_TIME, permission=permission)
    _refused(bench, permission, "carried out already")


@pytest.mark.usefixtures("staged_once")
@pytest.mark.parametrize("confirm", ["", "other_database {patients}", "{database} 0", "{database}", "yes"])
@pytest.mark.hard_case(18)
def test_a_confirmation_that_names_something_else_is_refused(bench: MigrationBench, confirm: str) -> None:
    plan = bench.plan()
    database, patients = plan.confirmation.split()
    words = confirm.format(database=database, patients=patients)
    _refused(bench, type(bench.permission(plan))(plan.id, words, "bench"), "confirmation does not name")


@pytest.mark.usefixtures("staged_once")
def test_a_reimport_without_a_plan_is_refused_with_a_remedy_and_recorded(bench: MigrationBench) -> None:
    _refused(bench, None, "needs a plan and a confirmation.*plan_reimport")
    audit = bench.execute("SELECT actor, action, outcome FROM fm_pipeline.audit ORDER BY id")
    assert audit[-2:] == [("unknown", "reimport", "started"), ("unknown", "reimport", "refused")]


@pytest.mark.usefixtures("staged_once")
def test_without_a_backup_of_the_rows_as_they_are_nothing_runs(bench: MigrationBench) -> None:
    _refused(bench, bench.permission(bench.plan()), "no verified backup")
    make_backup(bench.settings, now=RUN_TIME)
    bench.execute("UPDATE notes SET content = content || '.'")
    _refused(bench, bench.permission(bench.plan()), "backup is not of the rows that Nexus has now .notes.")


@pytest.mark.usefixtures("staged_once")
def test_the_audit_trail_cannot_be_changed(bench: MigrationBench) -> None:
    bench.plan()
    for statement in ("UPDATE fm_pipeline.audit SET actor = 'x'", "DELETE FROM fm_pipeline.audit"):
        with pytest.raises(psycopg2.errors.RaiseException, match="append-only"):
            bench.execute(statement)


def _refused(bench: MigrationBench, permission: Any, sentence: str) -> None:
    """The run is refused with that sentence and changes nothing."""
    before = bench.digests()
    with pytest.raises(PlanStop, match=sentence):
        reimport(bench.settings, now=RUN_TIME, permission=permission)
    assert bench.digests() == before


# Waits for a lock inside COMMIT itself: everything else that is deferred was made immediate by the validation.
SLOW_COMMIT = """
CREATE FUNCTION wait_in_commit() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock(4712); RETURN NULL; END $$;
CREATE FUNCTION defer_the_wait() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN SET CONSTRAINTS fm_pipeline.slow_commit DEFERRED; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON fm_pipeline.reimports DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION wait_in_commit();
CREATE TRIGGER defer_the_wait BEFORE INSERT ON fm_pipeline.reimports EXECUTE FUNCTION defer_the_wait()
"""


@pytest.mark.usefixtures("staged_once")
def test_a_cancel_that_comes_during_the_commit_comes_too_late_and_the_reimport_is_on_record_as_done(
    bench: MigrationBench,
) -> None:
    plan = bench.plan()
    make_backup(bench.settings, now=RUN_TIME)
    bench.execute(SLOW_COMMIT)
    script = (
        "import datetime; from fm_pipeline.sequence.reimport import reimport\n"
        "from fm_pipeline.nexus.reimport.plan import Permission\n"
        "from fm_pipeline.settings import load_settings\n"
        "done = reimport(load_settings(), now=datetime.datetime.now(datetime.UTC),"
        f" permission=Permission({plan.id!r}, {plan.confirmation!r}, 'bench'))\n"
        "print(done.committed)"
    )
    with bench.connection() as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(4712)")
        with subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", script], env=os.environ | bench.environment(), stdout=subprocess.PIPE
        ) as run:
            wait_until(
                lambda: (
                    bench.execute(
                        "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                        " WHERE objid = 4712 AND NOT l.granted AND a.query = 'COMMIT'"
                    )
                    != []
                ),
                LIMIT_SECONDS,
            )
            run.send_signal(signal.SIGINT)
            cursor.execute("SELECT pg_advisory_unlock(4712)")
            printed, _ = run.communicate(timeout=LIMIT_SECONDS)
    assert (run.returncode, printed) == (0, b"True\n")
    outcomes = bench.execute("SELECT outcome FROM fm_pipeline.audit WHERE action = 'reimport' ORDER BY id")
    assert outcomes == [("started",), ("done",)]
    assert bench.differences(small_clinic().expected()) == []
