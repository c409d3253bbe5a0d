"""Starts a Dagster run as the UI does (over GraphQL, through the queue) and follows its log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
from dagster_graphql import DagsterGraphQLClient

from fm_pipeline.errors import PipelineError

LOCATION = "fm_pipeline"
POLL_SECONDS = 0.5
_FAILURE = "dagster._core.definitions.events.Failure: "
_TIME = re.compile(r"^\[[-\d: ]+\] ")  # of the clinic's zone; the demo goes by seconds


class Line(NamedTuple):
    """One line for the terminal; `level` is info, done or error."""

    level: str
    text: str


def launch(port: int, job: str, config: Mapping[str, Any] | None = None) -> str:
    """Submit a job to the web server on this machine; return the run's id.

    Args:
        config: run config, as in the UI's launchpad.
    """
    client = DagsterGraphQLClient("127.0.0.1", port_number=port)
    return str(client.submit_job_execution(job, repository_location_name=LOCATION, run_config=dict(config or {})))


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
            return Line("info", _TIME.sub("", entry.user_message))
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
