"""The launcher for several hosts, with Celery's transport in memory; `scripts/kills-hosts` runs it with Redis."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.events import EngineEventData

from fm_pipeline.defs.dagster_internals import GRPC_INFO_TAG, LaunchRunContext, WorkerStatus
from fm_pipeline.defs.names import FOR_CELERY
from fm_pipeline.errors import SettingsError
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT

tags = pytest.importorskip("dagster_celery.tags", reason="the extra hosts is not installed")
TASK = "dagster-celery/task_id"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    launcher = yaml.safe_load((PACKAGE_PARENT / "deploy" / "celery" / "dagster.yaml").read_text("utf-8"))[
        "run_launcher"
    ]
    launcher["config"] |= {"broker": "memory://", "backend": "cache+memory://"}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"run_launcher": launcher}) as instance:
        yield instance


def run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    """The run of a chunk."""
    return instance.add_run(dg.DagsterRun(job_name="dicom_import_chunks", status=status, tags=FOR_CELERY | tags))


def status(instance: dg.DagsterInstance, of: dg.DagsterRun) -> dg.DagsterRunStatus:
    now = instance.get_run_by_id(of.run_id)
    assert now is not None
    return now.status


def test_a_terminated_run_is_cancelled_and_not_failed(instance: dg.DagsterInstance) -> None:
    started = run(instance, dg.DagsterRunStatus.STARTED, **{TASK: "one"})
    assert instance.run_launcher.terminate(started.run_id)
    assert status(instance, started) is dg.DagsterRunStatus.CANCELING
    ended = run(instance, dg.DagsterRunStatus.SUCCESS, **{TASK: "two"})
    assert not instance.run_launcher.terminate(ended.run_id)
    assert not instance.run_launcher.terminate("no run")


def test_without_a_broker_a_run_says_how_it_can_be_cancelled(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("celery.app.control.Control.revoke", refuse)
    started = run(instance, dg.DagsterRunStatus.STARTED, **{TASK: "one"})
    assert not instance.run_launcher.terminate(started.run_id)
    events = instance.get_records_for_run(started.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    assert any("fm-pipeline dicom cancel" in str(each.event_log_entry) for each in events)
    assert instance.run_launcher.check_run_worker_health(started).status is WorkerStatus.RUNNING


def test_a_run_that_celery_does_not_know_counts_as_alive(instance: dg.DagsterInstance) -> None:
    for tags in ({}, {TASK: "forgotten"}):
        health = instance.run_launcher.check_run_worker_health(run(instance, dg.DagsterRunStatus.STARTED, **tags))
        assert health.status is WorkerStatus.RUNNING


def test_a_run_that_was_cancelled_in_the_queue_is_not_launched(instance: dg.DagsterInstance) -> None:
    queued = run(instance, dg.DagsterRunStatus.NOT_STARTED)
    instance.report_run_canceling(queued)
    instance.run_launcher.launch_run(LaunchRunContext(dagster_run=queued, workspace=None))
    assert status(instance, queued) is dg.DagsterRunStatus.CANCELED


def test_the_tag_of_a_chunk_is_the_one_that_celery_knows() -> None:
    assert FOR_CELERY.keys() == {tags.DAGSTER_CELERY_QUEUE_TAG}


def test_a_run_without_the_tag_stays_on_the_hub(instance: dg.DagsterInstance) -> None:
    reimport = instance.add_run(dg.DagsterRun(job_name="full_reimport", status=dg.DagsterRunStatus.STARTING))
    with pytest.raises(dg.DagsterInvariantViolationError, match="DefaultRunLauncher requires a workspace"):
        instance.run_launcher.launch_run(LaunchRunContext(dagster_run=reimport, workspace=None))
    assert not instance.run_launcher.terminate(reimport.run_id)  # no process of it is known
    assert status(instance, reimport) is dg.DagsterRunStatus.CANCELING


def test_a_hub_run_whose_process_is_gone_is_found(instance: dg.DagsterInstance) -> None:
    server = {GRPC_INFO_TAG: '{"socket": "/nowhere", "host": "localhost"}'}
    reimport = instance.add_run(
        dg.DagsterRun(job_name="full_reimport", status=dg.DagsterRunStatus.STARTED, tags=server)
    )
    with subprocess.Popen(["true"]) as process:  # noqa: S607
        pass
    instance.report_engine_event("Started process for run.", reimport, EngineEventData.in_process(process.pid))
    assert instance.run_launcher.check_run_worker_health(reimport).status is WorkerStatus.NOT_FOUND


def test_a_worker_says_that_dagster_yaml_names_another_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(SettingsError, match="does not name WatchfulCeleryRunLauncher"):
        importlib.import_module("fm_pipeline.defs.celery_worker")
