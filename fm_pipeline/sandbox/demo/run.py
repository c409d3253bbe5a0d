"""Starts a Dagster run as the UI does (over GraphQL, through the queue) and follows its log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.clinic.nexus.system import ADMIN, SANDBOX_PASSWORD
from fm_pipeline.sandbox.stack.console import ConsoleService

LOCATION = "fm_pipeline"
EXPECTED = " (expected: the demo has one role for everything)"
POLL_SECONDS = 0.5
_LAUNCH = """
mutation($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } } } }
"""
_FAILURE = "dagster._core.definitions.events.Failure: "
_TIME = re.compile(r"^\[[-\d: ]+\] ")  # of the clinic's zone; the demo goes by seconds


class Line(NamedTuple):
    """One line for the terminal; `level` is info, done or error."""

    level: str
    text: str


def launch(console: ConsoleService, job: str, config: Mapping[str, Any] | None = None) -> str:
    """Log in as the administrator of the sandbox, submit a job, and return the run's id.

    Args:
        config: run config, as in the UI's launchpad.

    Raises:
        PipelineError: Dagster did not launch it.
    """
    selector = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__", "jobName": job}
    params = {"selector": selector, "runConfigData": dict(config or {}), "mode": "default"}
    session = console.log_in(ADMIN, SANDBOX_PASSWORD)
    question = {"query": _LAUNCH, "variables": {"params": params}}
    answer = session.post(f"{console.url}/dagster/graphql", json=question, timeout=120)
    launched: dict[str, Any] = (
        answer.json()["data"]["launchRun"] if answer.ok else {"__typename": f"HTTP {answer.status_code}"}
    )
    if "run" not in launched:
        raise PipelineError(
            f"Dagster did not launch {job} ({launched['__typename']}).",
            remedy=f"The console's log says why: {console.log}",
        )
    return str(launched["run"]["runId"])


def follow(home: Path, run_id: str, on_line: Callable[[Line], None], *, limit_seconds: float) -> bool:
    """Report the run's log until the run ends.

    Args:
        home: DAGSTER_HOME.
        limit_seconds: time limit of the run.

    Returns:
        Whether the run succeeded.

    Raises:
        PipelineError: the run did not end in time.
    """
    deadline = time.monotonic() + limit_seconds
    with dg.DagsterInstance.from_config(str(home)) as instance:
        cursor: str | None = None
        log = _Log()
        while True:
            run = instance.get_run_by_id(run_id)
            batch = instance.get_records_for_run(run_id, cursor=cursor)
            cursor = batch.cursor
            for record in batch.records:
                if line := log.line(record.event_log_entry):
                    on_line(line)
            if run is not None and run.is_finished and not batch.records:
                return run.is_success
            if time.monotonic() > deadline:
                raise PipelineError(
                    f"The run {run_id} has not ended after {limit_seconds:g} seconds.",
                    remedy="The logs of the web server and the daemon lie in the state folder, under logs/.",
                )
            if not batch.records:
                time.sleep(POLL_SECONDS)


def asset_metadata(home: Path, asset: str, run_id: str) -> dict[str, Any]:
    """Return the metadata of an asset that a run has materialized, by label."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        records = instance.fetch_materializations(dg.AssetKey(asset), limit=10).records
    for record in records:
        if record.run_id == run_id and record.asset_materialization:
            return {key: value.value for key, value in record.asset_materialization.metadata.items()}
    raise PipelineError(f"The run {run_id} did not materialize {asset}.")


class _Log:
    """Selects the lines of a run's log to show: our own messages, failures, and the end of steps without a message."""

    def __init__(self) -> None:
        self._spoken: set[str | None] = set()
        self._failed = False

    def line(self, entry: dg.EventLogEntry) -> Line | None:
        """Return the next entry as a line, or None if it is not shown."""
        if not entry.is_dagster_event:
            if entry.step_key == "preflight" and entry.user_message.startswith("✅"):
                return None  # two dozen of them
            self._spoken.add(entry.step_key)
            expected = EXPECTED if entry.user_message.startswith("⚠️ audit trail: ") else ""
            return Line("info", _TIME.sub("", entry.user_message) + expected)
        event = entry.get_dagster_event()
        if event.is_step_success and event.step_key not in self._spoken:
            return Line("done", f"✅ {event.step_key}")
        if event.is_step_failure:
            self._failed = True
            error = event.step_failure_data.error
            message = error.message.removeprefix(_FAILURE).strip() if error else ""
            return Line("error", f"❌ {event.step_key}: {message}")
        if event.is_failure and not self._failed:
            return Line("error", event.message or "The run failed.")
        return None
