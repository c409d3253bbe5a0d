"""A run whose process is gone is noticed, and only such a one."""

from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import dagster as dg
import pytest
import yaml
from dagster._core.events import EngineEventData

from fm_pipeline.defs.dagster_internals import GRPC_INFO_TAG, LaunchRunContext, WorkerStatus
from fm_pipeline.defs.run_launcher import WatchfulRunLauncher
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT

HERE = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": "a socket"})}
ELSEWHERE = {GRPC_INFO_TAG: json.dumps({"host": "another.machine", "port": 4000})}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with the project's own dagster.yaml."""
    (tmp_path / "dagster.yaml").write_text((PACKAGE_PARENT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as found:
        yield found


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing until it is killed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def _health(instance: dg.DagsterInstance, tags: dict[str, str], pid: int | None) -> WorkerStatus:
    run = instance.create_run_for_job(_nothing, tags=tags, status=dg.DagsterRunStatus.STARTED)
    if pid is not None:
        instance.report_engine_event("Started process for run.", run, EngineEventData.in_process(pid))
    return instance.run_launcher.check_run_worker_health(run).status


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def _nothing() -> None:
    nothing()


def test_a_run_whose_process_was_killed_is_found_out(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
) -> None:
    assert _health(instance, HERE, worker.pid) is WorkerStatus.RUNNING
    worker.kill()
    worker.wait()
    assert _health(instance, HERE, worker.pid) is WorkerStatus.NOT_FOUND


def test_a_later_process_with_the_same_number_is_not_taken_for_the_run(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the machine."""
    monkeypatch.setattr("fm_pipeline.defs.run_launcher.CLOCK_SECONDS", -3600.0)
    assert _health(instance, HERE, worker.pid) is WorkerStatus.NOT_FOUND


def test_a_run_goes_on_when_the_clock_is_set_forward(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fm_pipeline.defs.run_launcher.CLOCK_SECONDS", -3600.0)
    process = multiprocessing.get_context("spawn").Process(target=signal.pause)  # as Dagster starts a run
    process.start()
    try:
        assert process.pid
        assert _health(instance, HERE, process.pid) is WorkerStatus.RUNNING
    finally:
        process.kill()
        process.join()
    assert _health(instance, HERE, process.pid) is WorkerStatus.NOT_FOUND


@pytest.mark.parametrize(("tags", "pid"), [(ELSEWHERE, 1), ({}, 1), (HERE, None)], ids=["elsewhere", "command", "new"])
def test_a_run_that_nobody_can_look_at_counts_as_alive(
    instance: dg.DagsterInstance, tags: dict[str, str], pid: int | None
) -> None:
    assert _health(instance, tags, pid) is WorkerStatus.RUNNING


def test_run_monitoring_is_told_to_ask() -> None:
    settings = yaml.safe_load((PACKAGE_PARENT / "dagster.yaml").read_text())
    assert settings["run_launcher"] == {
        "module": WatchfulRunLauncher.__module__,
        "class": WatchfulRunLauncher.__name__,
    }
    assert settings["run_monitoring"]["poll_interval_seconds"] <= 60


def test_a_run_is_cancelled_although_its_code_server_is_gone(
    instance: dg.DagsterInstance, worker: subprocess.Popen[bytes]
) -> None:
    run = instance.create_run_for_job(_nothing, tags=HERE, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("Started process for run.", run, EngineEventData.in_process(worker.pid))
    assert instance.run_launcher.terminate(run.run_id)
    assert worker.wait(60) != 0
    cancelled = instance.get_run_by_id(run.run_id)
    assert cancelled is not None
    assert cancelled.status is dg.DagsterRunStatus.CANCELING


def test_a_run_that_was_cancelled_in_the_queue_is_not_started_by_a_daemon_that_has_read_the_queue_before(
    instance: dg.DagsterInstance,
) -> None:
    run = instance.create_run_for_job(_nothing)
    instance.report_run_canceling(run)
    instance.report_run_canceled(run)
    instance.report_dagster_event(  # as the daemon does before it asks the launcher
        dg.DagsterEvent(dg.DagsterEventType.RUN_STARTING.value, run.job_name), run_id=run.run_id
    )
    without_workspace = Mock()  # a run that was started would need it
    instance.run_launcher.launch_run(LaunchRunContext(run, without_workspace))
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.CANCELED
    assert without_workspace.mock_calls == []
