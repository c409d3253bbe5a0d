"""The audit trail is a witness: what it cannot write down changes nothing of what happened."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path

import pytest

from fm_pipeline.db.audit import audited
from fm_pipeline.errors import DatabaseError
from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.sandbox.stack.postgresql_binaries import binaries
from fm_pipeline.sequence.reimport import reimport
from fm_pipeline.sequence.report_files import write_report
from fm_pipeline_tests.operations import pages
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, small_clinic
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL

NO_ROOM = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'no room'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON fm_pipeline.audit FOR EACH ROW WHEN (NEW.outcome <> 'started'
    AND NEW.action = 'reimport') EXECUTE FUNCTION no_room()
"""


@pytest.mark.usefixtures("staged_once")
def test_a_committed_reimport_is_no_failure_because_its_end_cannot_be_written_down(
    bench: MigrationBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.execute(NO_ROOM)
    with caplog.at_level(logging.WARNING):
        assert bench.reimport().committed
    assert bench.differences(small_clinic().expected()) == []
    assert "audit trail" in caplog.text


@pytest.mark.usefixtures("staged_once")
def test_a_cancelled_run_stays_a_cancelled_one_when_its_end_cannot_be_written_down(bench: MigrationBench) -> None:
    bench.execute(NO_ROOM)
    with pytest.raises(KeyboardInterrupt), audited(bench.database_url, actor="bench", action="reimport"):
        raise KeyboardInterrupt


@pytest.mark.usefixtures("staged_once")
def test_an_action_that_cannot_be_recorded_does_not_begin_and_the_error_says_why(bench: MigrationBench) -> None:
    permission = bench.permission(bench.plan())
    make_backup(bench.settings, now=RUN_TIME)
    bench.execute(NO_ROOM.replace("NEW.outcome <> 'started'\n    AND ", ""))
    before = bench.digests()
    with pytest.raises(DatabaseError, match=r"audit trail could not be written.*reimport has changed nothing"):
        reimport(bench.settings, now=RUN_TIME, permission=permission)
    assert bench.digests() == before


@pytest.mark.usefixtures("staged_once")
@pytest.mark.parametrize("fault", ["folder", "database"])
def test_a_committed_reimport_is_no_failure_because_its_report_cannot_be_written(
    bench: MigrationBench, tmp_path: Path, fault: str
) -> None:
    report = bench.reimport()
    url, state_dir = bench.database_url, tmp_path / "reports"
    if fault == "folder":
        state_dir.write_text("no folder")
    else:
        url = "postgresql://nobody:secret@127.0.0.1:1/nexus"
    warnings: list[str] = []
    assert write_report(url, state_dir, report, warn=warnings.append) is None
    assert [warning.startswith("The reimport is committed, but") for warning in warnings] == [True]


@pytest.mark.usefixtures("staged_once")
def test_sequences_that_logical_replication_left_behind_are_set_as_the_page_says(
    bench: MigrationBench, postgresql: DisposablePostgreSQL
) -> None:
    bench.execute(
        "INSERT INTO fm_pipeline.audit (actor, action, outcome)"
        " SELECT 'x', 'plan', 'started' FROM generate_series(1, 9)"
    )
    bench.execute("ALTER TABLE fm_pipeline.audit ALTER id RESTART")
    with (
        pytest.raises(DatabaseError, match=r"audit trail could not be written.*is behind its rows"),
        audited(bench.database_url, actor="bench", action="plan"),
    ):
        raise AssertionError
    (block,) = [each for each in pages.blocks("docs/operations.md", "Move to another server") if "gexec" in each.text]
    environment = {"PATH": f"{binaries(postgresql.data)}:{os.environ['PATH']}", "SUPERUSER_URL": bench.database_url}
    subprocess.run(["/bin/sh", "-euc", block.text], env=environment, check=True, capture_output=True)  # noqa: S603
    with audited(bench.database_url, actor="bench", action="plan"):
        pass
