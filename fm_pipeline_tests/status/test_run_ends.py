"""What a run has left in Nexus, by what is on record of it."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.audit import record
from fm_pipeline.db.commit import commit
from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.nexus.undoing_restores import read_restores
from fm_pipeline.status.history import HistoryFilter, read_history
from fm_pipeline.status.run_ends import Attempt, read_run_end, recorded_attempt
from fm_pipeline_tests.support.clinics import MigrationBench, Origin

SYNC = """
INSERT INTO fm_pipeline.syncs (id, run_id, requested_by, created_at, status, inputs, report)
VALUES (gen_random_uuid(), %s, 'nightly', now(), %s, '{}', '{}')
"""


def _rows(*rows: tuple[str, str, str]) -> list[dict[str, str]]:
    return [{"action": action, "outcome": outcome, "detail": detail} for action, outcome, detail in rows]


@pytest.mark.usefixtures("migrated_once")
def test_a_cancelled_sync_that_waits_has_changed_nothing_and_waits_until_a_later_one_takes_its_place(
    bench: MigrationBench,
) -> None:
    url, cancelled = bench.database_url, Attempt("sync", outcome="cancelled")
    bench.execute(SYNC, "waiting", "waits")
    end = read_run_end(url, "waiting", cancelled)
    assert (end.unchanged, end.rolled_back, end.sync and end.sync.is_newest) == (True, True, True)
    bench.execute(SYNC, "later", "committed")
    end = read_run_end(url, "waiting", cancelled)
    assert (end.unchanged, end.sync and end.sync.is_newest) == (True, False)
    end = read_run_end(url, "later", cancelled)
    assert (end.unchanged, end.rolled_back) == (False, False)


@pytest.mark.usefixtures("migrated_once")
def test_a_cancelled_undo_of_a_sync_has_changed_nothing_unless_the_sync_is_undone(bench: MigrationBench) -> None:
    url, cancelled = bench.database_url, Attempt("sync", undoes_sync=True, outcome="cancelled")
    bench.execute(SYNC, "committed", "committed")
    ((sync_id,),) = bench.execute("SELECT id::text FROM fm_pipeline.syncs")
    assert read_run_end(url, "undo", cancelled).unchanged, "it was cancelled before it began"
    record(url, actor="bench", action="sync", outcome="started", run_id="undo", detail=f"Undo of the sync {sync_id}.")
    end = read_run_end(url, "undo", cancelled)
    assert (end.unchanged, end.rolled_back) == (True, True)
    bench.execute("UPDATE fm_pipeline.syncs SET undone_at = clock_timestamp()")
    end = read_run_end(url, "undo", cancelled)
    assert (end.unchanged, end.rolled_back) == (False, False)


def test_what_a_reimport_had_written_is_rolled_back_unless_it_was_committed(
    reimported_once: Origin, bench: MigrationBench
) -> None:
    url, failed = bench.database_url, Attempt("reimport", outcome="failed")
    bench.execute("UPDATE fm_pipeline.reimports SET run_id = 'committed'")
    ends = [read_run_end(url, run_id, failed) for run_id in ("stopped", "committed")]
    assert [(end.finished, end.unchanged, end.rolled_back) for end in ends] == [
        (False, True, True),
        (True, False, False),
    ]
    states = {
        end.state_of_step(step, has_begun=True, has_ended=True, is_over=True)
        for end, step in zip(ends * 2, ("phase 2", "phase 2", "read patient", "phase 8"), strict=True)
    }
    assert states == {"rolled back", "done"}
    assert ends[0].state_of_step("phase 3", has_begun=True, has_ended=False, is_over=True) == "stopped"
    assert ends[0].state_of_step("phase 3", has_begun=True, has_ended=False, is_over=False) == "running"
    assert ends[0].state_of_step("phase 4", has_begun=False, has_ended=False, is_over=False) == "to come"


@pytest.mark.usefixtures("reimported_once")
def test_what_a_restore_had_written_is_rolled_back_unless_it_was_committed(
    bench: MigrationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it was killed right after its COMMIT: then nothing else tells that it has undone the reimport."""
    url, (folder, *_) = bench.database_url, [each.folder for each in list_backups(bench.settings)]
    words = restore(bench.settings, folder, confirm="", dry_run=True, run_id="tried").confirmation
    assert read_run_end(url, "tried", Attempt("restore", dry_run=True)).finished

    def kill_before(*_: object) -> None:
        raise KeyboardInterrupt

    def kill_after(connection: Connection, url: str) -> None:
        commit(connection, url)
        raise KeyboardInterrupt

    for run_id, kill in (("before", kill_before), ("after", kill_after)):
        monkeypatch.setattr("fm_pipeline.nexus.backup.restore.commit", kill)
        with pytest.raises(KeyboardInterrupt):
            restore(bench.settings, folder, confirm=words, run_id=run_id)
    ends = [read_run_end(url, run_id, Attempt("restore", outcome="cancelled")) for run_id in ("before", "after")]
    assert [(end.finished, end.unchanged, end.rolled_back) for end in ends] == [
        (False, True, True),
        (True, False, False),
    ]
    (reimport,) = bench.execute("SELECT started_at, backup_id::text FROM fm_pipeline.reimports")
    with bench.connection() as connection:
        undone = read_restores(connection).undone_by(*reimport)
    assert undone is not None
    assert undone.run_id == "after"
    shown, _ = read_history(url, HistoryFilter(kind="restore"))
    outcomes = {each["run_id"]: each["outcome"] for each in shown}
    assert outcomes == {"tried": "done", "before": "cancelled", "after": "done"}


@pytest.mark.usefixtures("migrated_once")
def test_a_run_is_finished_as_soon_as_its_result_is_on_record(bench: MigrationBench) -> None:
    url = bench.database_url
    record(url, actor="bench", action="backup", outcome="started", run_id="run")
    assert not read_run_end(url, "run", Attempt("backup")).finished
    record(url, actor="bench", action="backup", outcome="done", run_id="run")
    assert read_run_end(url, "run", Attempt("backup")).finished
    record(url, actor="bench", action="image_link", outcome="done", run_id="link")
    assert not read_run_end(url, "link", Attempt("image_link")).finished, "only its copies are made"
    assert not read_run_end(url, "run", Attempt("")).finished


def test_the_audit_trail_says_what_a_run_did_last_and_how_it_ended() -> None:
    begun, backup = ("reimport", "started", ""), ("backup", "done", "")
    cancel = ("cancel", "done", "Run of full_reimport.")
    undo, tried = "Undo of the sync 1.", "A dry run: all of it is rolled back."
    assert recorded_attempt([]) == Attempt("")
    assert recorded_attempt(_rows(backup, begun)) == Attempt("reimport")
    assert recorded_attempt(_rows(begun, backup, ("reimport", "failed", "Stop."))) == Attempt(
        "reimport", outcome="failed"
    )
    assert recorded_attempt(_rows(begun, backup)) == Attempt("reimport"), "it goes on"
    assert recorded_attempt(_rows(cancel)) == Attempt("reimport", outcome="cancelled")
    assert recorded_attempt(_rows(("restore", "failed", tried))) == Attempt("restore", dry_run=True, outcome="failed")
    assert recorded_attempt(_rows(("sync", "started", undo), ("sync", "cancelled", undo))) == Attempt(
        "sync", undoes_sync=True, outcome="cancelled"
    )
