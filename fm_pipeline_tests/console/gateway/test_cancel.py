"""Cancels that meet something else: a stop of the site, or the daemon that takes the run from the queue."""

from __future__ import annotations

import json
import subprocess
import sys

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.execution.plan.objects import StepFailureData

from fm_pipeline.console.gateway.context import ConsoleProcessContext
from fm_pipeline.console.gateway.runs import Runs
from fm_pipeline.db.audit import AuditOutcome, record, requested_cancels
from fm_pipeline.defs.dagster_internals import GRPC_INFO_TAG
from fm_pipeline_tests.support.clinics import MigrationBench, Origin
from fm_pipeline_tests.support.waiting import wait_until

HERE = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": "a socket"})}


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def _nothing() -> None:
    nothing()


def test_a_run_that_was_being_started_when_the_site_stopped_is_ended_by_the_next_site(
    migrated_once: Origin, bench: MigrationBench, context: ConsoleProcessContext
) -> None:
    url, instance = bench.database_url, context.instance
    starting = dg.DagsterRunStatus.STARTING
    asked, refused, left = (instance.create_run_for_job(_nothing, tags=HERE, status=starting) for _ in range(3))
    outcomes: tuple[tuple[dg.DagsterRun, AuditOutcome], ...] = (
        (asked, "started"),
        (asked, "done"),
        (refused, "refused"),
    )
    for run, outcome in outcomes:
        record(url, actor="admin", action="cancel", outcome=outcome, run_id=run.run_id)  # by the site that stopped
    runs = Runs(context)
    runs.go_on_ending(requested_cancels(url, [run.run_id for run in runs.unfinished()]))
    shown = [found and found.status for found in (runs.find(run.run_id) for run in (asked, refused, left))]
    assert shown == ["cancelling", "queued", "queued"]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        instance.report_engine_event("Started process for run.", asked, EngineEventData.in_process(process.pid))
        instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "_nothing"), asked.run_id)
        wait_until(lambda: process.poll() is not None)
    wait_until(lambda: (found := runs.find(asked.run_id)) is not None and found.status == "cancelling")


def test_a_run_that_was_not_queued_when_the_site_stopped_is_ended_by_the_next_site(
    context: ConsoleProcessContext,
) -> None:
    instance, runs = context.instance, Runs(context)
    made = dg.DagsterRunStatus.NOT_STARTED
    cut = instance.create_run_for_job(_nothing, status=made)
    of_the_daemon = instance.create_run_for_job(_nothing, tags={"dagster/sensor_name": "one"}, status=made)
    runs.end_unqueued()
    assert [run.run_id for run in runs.unfinished()] == [of_the_daemon.run_id]
    ended = runs.find(cut.run_id)
    assert ended is not None
    assert ended.status == "failed"
    assert "stopped before it was queued" in runs.log(cut.run_id).lines[-1].text


def test_a_run_that_was_cancelled_while_the_daemon_took_it_from_the_queue_does_not_wait_for_its_turn(
    context: ConsoleProcessContext,
) -> None:
    """So that who resumes what it was to do gets a new run, and is not led to this one, which ends in a moment."""
    instance, runs = context.instance, Runs(context)
    run, waiting = (instance.create_run_for_job(_nothing, status=dg.DagsterRunStatus.STARTING) for _ in range(2))
    instance.report_run_canceling(run)
    instance.report_run_canceled(run)
    instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_STARTING.value, "_nothing"), run.run_id)
    found = runs.find(run.run_id)
    assert found is not None
    assert found.status == "cancelling"
    assert {each.run_id: each.status for each in runs.unfinished()} == {
        run.run_id: "cancelling",
        waiting.run_id: "queued",
    }
    assert runs.launch_once("admin", "_nothing", {}, lambda _: True) == (waiting.run_id, False)


def test_the_log_says_of_a_step_that_a_cancel_has_ended_that_it_was_ended_and_of_another_that_it_failed(
    context: ConsoleProcessContext,
) -> None:
    instance = context.instance
    run = instance.create_run_for_job(_nothing, tags=HERE, status=dg.DagsterRunStatus.STARTED)
    data = StepFailureData(None, None)  # type: ignore[no-untyped-call]

    def fail(step: str) -> None:
        event = dg.DagsterEvent("STEP_FAILURE", "_nothing", step_key=step, event_specific_data=data)
        instance.report_dagster_event(event, run.run_id)

    fail("first")
    instance.report_run_canceling(run)
    fail("second")
    lines = [(line.level, line.text) for line in Runs(context).log(run.run_id).lines]
    assert lines == [("error", "first failed."), ("info", "The run is being cancelled."), ("info", "second was ended.")]
