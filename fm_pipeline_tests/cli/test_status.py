"""`fm-pipeline status`, run as a command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from fm_pipeline.cli.main import main
from fm_pipeline.db.migrate import migrate
from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sequence.progress import Progress, TableSink
from fm_pipeline_tests.support.clinics import MigrationBench, Origin

CANARY = "Zephyrine Quollthorpe"


@pytest.fixture
def bench(bench: MigrationBench, monkeypatch: pytest.MonkeyPatch) -> MigrationBench:
    """The bench, and its settings in the environment."""
    monkeypatch.setenv("NEXUS_DATABASE_URL", bench.database_url)
    monkeypatch.setenv("COLUMNS", "200")
    return bench


@pytest.fixture
def reimported(staged_once: Origin, bench: MigrationBench) -> MigrationBench:
    """After a reimport of patients with a name that must not be seen, and in the middle of another run."""
    bench.execute("UPDATE fm_pipeline.staged_patients SET first_name = %s, last_name = %s", *CANARY.split())
    bench.reimport(run_id="the run of before")
    with Progress([TableSink(bench.database_url, "run [bold]7")]) as progress:
        progress.update("read patient", 2842, 2842)
        progress.update("read note", 1000, 9000, errors=3)
        progress.end()
    bench.execute("UPDATE fm_pipeline.progress SET finished_at = NULL WHERE step = 'read note'")
    return bench


def test_it_shows_where_the_run_is_and_what_was_done_before_and_no_name(reimported: MigrationBench) -> None:
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 0, result.output
    (reading,) = [line for line in result.output.splitlines() if line.startswith("read note")]
    assert "1,000 of 9,000" in reading
    for title in ("Run run [bold]7", "Reimports", "Plans", "Backups", "Attempts"):
        assert title in result.output
    (plan_id,) = reimported.execute("SELECT id::text FROM fm_pipeline.plans")[0]
    assert plan_id in result.output
    as_json = CliRunner().invoke(main, ["status", "--json"])
    for name in CANARY.split():
        assert name not in result.output
        assert name not in as_json.output
    content = json.loads(as_json.output)
    assert set(content) == {"progress", "reimports", "plans", "backups", "attempts"}
    assert [row["errors"] for row in content["progress"]] == [0, 3]
    assert content["reimports"][0]["run_id"] == "the run of before"
    reimported.execute("ALTER TABLE fm_pipeline.backups DROP number")  # the tables of the release before: not upgraded
    earlier = CliRunner().invoke(main, ["status", "--json"])
    assert json.loads(earlier.output)["backups"] == content["backups"] != []
    assert content["reimports"][0]["changed_rows"] > 0
    assert datetime.fromisoformat(content["backups"][0]["verified_at"]).tzinfo
    assert {(row["action"], row["outcome"]) for row in content["attempts"]} >= {("reimport", "done")}


def test_a_plan_that_a_restore_has_undone_is_not_shown_as_carried_out(reimported: MigrationBench) -> None:
    ((backup, plan),) = reimported.execute("SELECT backup_id::text, plan_id::text FROM fm_pipeline.reimports")
    before = CliRunner().invoke(main, ["status"]).output
    store_run_report(reimported.database_url, "restoring", "restore", {}, subject=backup)
    after = CliRunner().invoke(main, ["status"]).output
    (line,) = [line for line in after.splitlines() if line.startswith(plan)]
    assert ("undone" in before, "a restore has undone it" in line) == (False, True)
    content = json.loads(CliRunner().invoke(main, ["status", "--json"]).output)
    assert content["plans"][0]["undone_at"] == content["reimports"][0]["undone_at"] is not None


def test_times_are_the_clinics_and_a_step_without_news_is_told_as_not_ended(
    bench: MigrationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(bench.database_url)
    at = datetime(2025, 11, 14, 10, 0, 5, tzinfo=UTC)
    with Progress([TableSink(bench.database_url, "a run")], now=lambda: at) as progress:
        progress.update("read patient", 2842, 2842)
        progress.update("read note", 1000, 9000)
    bench.execute("UPDATE fm_pipeline.progress SET finished_at = NULL WHERE step = 'read note'")
    monkeypatch.setenv("CLINIC_TIME_ZONE", "Australia/Perth")
    result = CliRunner().invoke(main, ["status"])
    assert result.output.count("2025-11-14 18:00:05") == 2
    assert result.output.count("2025-11-14 18:00:05, not ended") == 1
    assert " 0 s " not in result.output, "nothing is left to wait for"


@pytest.mark.usefixtures("bench")
def test_before_the_first_run_it_says_so() -> None:
    result = CliRunner().invoke(main, ["status"])
    assert result.output == "The pipeline has done nothing in this database yet.\n"


def test_a_database_that_does_not_answer_is_an_error_in_sentences(
    bench: MigrationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXUS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 1
    assert "No server listens" in result.stderr


def test_watching_and_json_exclude_each_other() -> None:
    assert CliRunner().invoke(main, ["status", "--watch", "--json"]).exit_code == 2


@pytest.mark.usefixtures("bench")
def test_watching_ends_with_ctrl_c() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "fm_pipeline", "status", "--watch"],
        cwd=PACKAGE_PARENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    assert errors == b""
