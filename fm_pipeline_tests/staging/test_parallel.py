"""Staging side by side: who waits for whom, what a failure leaves, and what is shown meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from fm_pipeline.cli.main import INTERRUPTED_WORDS
from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.errors import DatabaseError, LockStop, StagingStop
from fm_pipeline.staging import parallel as side_by_side
from fm_pipeline.staging.parallel import _Sessions, _side_by_side, stage_all
from fm_pipeline.staging.run import check_staged, stage
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench
from fm_pipeline_tests.support.waiting import InThread, wait_until

LIMIT_SECONDS = 60
STAGED = "SELECT entity, built_at FROM fm_pipeline.staged_builds ORDER BY entity"
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fm_pipeline' AND datname = current_database()"
)
ADVISORY = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def _stage(bench: MigrationBench, entity: str, meanwhile: Iterator[None] | None = None) -> None:
    with connect(bench.database_url) as connection:
        stage(
            connection,
            entity,
            bench.settings,
            run_id=None,
            now=RUN_TIME,
            on_progress=lambda *_: next(meanwhile, None) if meanwhile else None,
        )


@pytest.mark.usefixtures("staged_once")
@pytest.mark.parametrize(("other", "waits"), [("patient", True), ("note", True), ("appointment", False)])
def test_beside_notes_all_but_patients_and_the_same_notes_may_be_built(
    bench: MigrationBench, other: str, waits: bool
) -> None:
    waited: list[bool] = []
    others: list[InThread] = []

    def begin() -> Iterator[None]:
        others.append(InThread(lambda: _stage(bench, other)))
        wait_until(lambda: not others[0].is_alive() or bench.execute(ADVISORY) == [(1,)], LIMIT_SECONDS)
        waited.append(others[0].is_alive())
        yield

    _stage(bench, "note", begin())
    others[0].outcome()
    assert waited == [waits]


@pytest.mark.usefixtures("staged_once")
def test_what_fails_leaves_its_entity_and_all_after_it_as_they_were_and_the_mixture_is_refused(
    bench: MigrationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "SIDE_BY_SIDE", 1)  # with two it depends on them what has been begun already
    bench.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON fm_pipeline.staged_sms_messages EXECUTE FUNCTION refuse()"
    )
    builds = "SELECT entity, run_id FROM fm_pipeline.staged_builds WHERE entity <> 'contact_detail'"
    with pytest.raises(DatabaseError, match="P0001"):
        stage_all(bench.settings, run_id="second", now=datetime.now(UTC))
    before = dict.fromkeys(("patient", "note", "appointment"), "second")
    assert dict(bench.execute(builds)) == before | dict.fromkeys(("sms_message", "document", "image"))
    with bench.connection() as connection, pytest.raises(StagingStop, match="sms_message was staged before"):
        check_staged(connection, bench.settings)


@pytest.mark.usefixtures("staged_once")
def test_who_waits_for_another_staging_is_told_so_and_nothing_is_lost(bench: MigrationBench) -> None:
    bench = bench.with_settings(nexus_lock_timeout_seconds=0.1)
    before = bench.execute(STAGED)
    with bench.connection() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE fm_pipeline.staged_notes IN SHARE MODE")
        with pytest.raises(LockStop, match=r"another run has been staging.*Nexus is unchanged"):
            _stage(bench, "note")
        other.rollback()
        cursor.execute("LOCK TABLE fm_pipeline.crosswalk IN SHARE MODE")
        with pytest.raises(LockStop, match="another run has been staging"):
            stage_all(bench.settings, run_id=None, now=RUN_TIME)
    assert bench.execute(STAGED) == before


@pytest.mark.hard_case(14)
@pytest.mark.usefixtures("staged_once")
def test_ctrl_c_ends_what_waits_in_a_thread_too_and_leaves_no_session(bench: MigrationBench) -> None:
    """libpq does not come back for an interrupt: the statement has to be cancelled."""
    with bench.connection() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE fm_pipeline.staged_notes IN SHARE MODE")
        command = [sys.executable, "-m", "fm_pipeline", "plan"]
        environment = os.environ | bench.environment() | {"NEXUS_LOCK_TIMEOUT_SECONDS": "600"}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:  # noqa: S603
            wait_until(lambda: bench.execute("SELECT 1 FROM pg_locks WHERE NOT granted") != [], LIMIT_SECONDS)
            run.send_signal(signal.SIGINT)
            _, told = run.communicate(timeout=LIMIT_SECONDS)
        assert (run.returncode, told.decode().strip()) == (130, " ".join(INTERRUPTED_WORDS))
    wait_until(lambda: bench.execute(SESSIONS) == [(0,)], LIMIT_SECONDS)
    assert bench.execute("SELECT outcome FROM fm_pipeline.audit ORDER BY id") == []


CANCELLED = "57014"  # query_canceled; after the limit it would be 55P03


def _waits_for_a_lock(sessions: _Sessions, ended: list[str | None]) -> None:
    try:
        with sessions.open() as connection, connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '120s'")
            cursor.execute("DELETE FROM fm_pipeline.staged_notes")
    except DatabaseError as error:
        ended.append(error.sqlstate)
        raise


@pytest.mark.parametrize("moment", ["more is to be begun", "another one has failed"])
@pytest.mark.hard_case(14)
def test_an_interrupt_ends_what_waits_also_while_threads_are_started_or_waited_for(
    bench: MigrationBench, moment: str
) -> None:
    migrate(bench.database_url)
    sessions, ended = _Sessions(bench.database_url), list[str | None]()

    def is_waiting() -> None:
        wait_until(lambda: bench.execute("SELECT 1 FROM pg_locks WHERE NOT granted") != [], LIMIT_SECONDS)

    def fail_and_interrupt() -> None:
        is_waiting()
        main = threading.main_thread().ident
        assert main

        def interrupt() -> None:
            wait_until(lambda: "in shutdown" in "".join(traceback.format_stack(sys._current_frames()[main])))
            signal.pthread_kill(main, signal.SIGINT)

        threading.Thread(target=interrupt).start()
        raise ZeroDivisionError

    def work() -> Iterator[Callable[[], None]]:
        yield lambda: _waits_for_a_lock(sessions, ended)
        if moment == "another one has failed":
            yield fail_and_interrupt
        else:
            is_waiting()
            raise KeyboardInterrupt

    with bench.connection() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE fm_pipeline.staged_notes IN SHARE MODE")
        with pytest.raises(KeyboardInterrupt):
            _side_by_side(work(), sessions)
    assert ended == [CANCELLED]


@pytest.mark.usefixtures("staged_once")
def test_builds_that_are_side_by_side_are_counted_together_up_to_all_of_their_records(bench: MigrationBench) -> None:
    shown: list[tuple[str, int, int | None]] = []
    stage_all(bench.settings, run_id=None, now=RUN_TIME, on_step=lambda *step: shown.append(step))
    names = ["patient", "contact_detail"]
    assert list(dict.fromkeys(name for name, _, _ in shown)) == ["stage patients", "stage what patients have"]
    ((patients, others),) = bench.execute(
        "SELECT sum(row_count) FILTER (WHERE entity = ANY(%s)), sum(row_count) FILTER (WHERE entity <> ALL(%s))"
        " FROM fm_pipeline.source_extractions",
        names,
        names,
    )
    assert ("stage patients", patients, patients) in shown
    assert shown[-1] == ("stage what patients have", others, others)
    together = [done for name, done, _ in shown if name == "stage what patients have"]
    assert together == sorted(together)
