"""Runs for pages: launched and ended as Dagster's own pages do it, with the permissions of who asks, and read."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from asgiref.sync import async_to_sync
from dagster_graphql.schema import create_schema

from fm_pipeline.console.gateway.context import ConsoleProcessContext, Requester
from fm_pipeline.console.gateway.run_state import Level, LogLine, RunLog, RunState, Status
from fm_pipeline.defs.dagster_internals import BACKFILL_ID_TAG, SCHEDULE_NAME_TAG, SENSOR_NAME_TAG
from fm_pipeline.defs.run_launcher import is_cancelled
from fm_pipeline.errors import PipelineError, RequestError

_log = logging.getLogger(__name__)

LOCATION, REPOSITORY = "fm_pipeline", "__repository__"
_LAUNCH = """
mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message } ... on UnauthorizedError { message } } }
"""
_TERMINATE = """
mutation End($runId: String!) { terminateRun(runId: $runId, terminatePolicy: SAFE_TERMINATE) { __typename
  ... on TerminateRunFailure { message } ... on PythonError { message } } }
"""
_STATUSES: Mapping[dg.DagsterRunStatus, Status] = {
    dg.DagsterRunStatus.SUCCESS: "done",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "cancelled",
    dg.DagsterRunStatus.CANCELING: "cancelling",
    dg.DagsterRunStatus.STARTED: "running",
}
# Events of Dagster that are lines of a run's log; everything else there is the pipeline's own messages.
_SAID = {
    dg.DagsterEventType.RUN_ENQUEUED: "The run is queued.",
    dg.DagsterEventType.RUN_START: "The run starts.",
    dg.DagsterEventType.RUN_CANCELING: "The run is being cancelled.",
    dg.DagsterEventType.RUN_CANCELED: "The run was cancelled.",
    dg.DagsterEventType.RUN_SUCCESS: "✅ The run is complete.",
    dg.DagsterEventType.RUN_FAILURE: "The run failed.",
}
_UNQUEUED = "The run failed: the service was stopped before it was queued. Start it again."
_OF_THE_DAEMON = {SCHEDULE_NAME_TAG, SENSOR_NAME_TAG, BACKFILL_ID_TAG}
_BAD = {dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
TERMINATE_SECONDS, TERMINATE_POLL_SECONDS = 300.0, 0.5  # until the process of a run is up


class Runs:
    """The runs of one Dagster instance.

    Args:
        context: of the web server.
    """

    def __init__(self, context: ConsoleProcessContext) -> None:
        self._context = context
        self._schema = create_schema()
        self._lock = threading.Lock()
        self._launching = threading.Lock()
        self._ending: set[str] = set()  # runs that are ended as soon as they can be

    def launch_once(
        self, username: str, job: str, config: Mapping[str, Any], is_same: Callable[[RunState], bool]
    ) -> tuple[str, bool]:
        """Queue a run of a job, unless the same one waits or runs already.

        Of two requests that come together the second finds the run of the first. A run that somebody has cancelled does
        not count: the new one waits until it has ended.

        Args:
            username: the admin who asks; recorded with the run.
            config: run config, as in the launchpad.
            is_same: whether a run of the job is the one that is asked for.

        Returns:
            the id of the run, and whether it is new.

        Raises:
            RequestError: Dagster refused it.
        """
        with self._launching:
            for run in self.unfinished([job]):
                if run.status != "cancelling" and is_same(run):
                    return run.run_id, False
            return self._launch(username, job, config), True

    def _launch(self, username: str, job: str, config: Mapping[str, Any]) -> str:
        """Queue a run of a job and return its id.

        Raises:
            RequestError: Dagster refused it.
        """
        selector = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, "jobName": job}
        params = {"selector": selector, "runConfigData": dict(config), "mode": "default"}
        result = self._execute(_LAUNCH, {"params": params}, username)["launchRun"]
        if result["__typename"] != "LaunchRunSuccess":
            raise RequestError(
                f"Dagster did not launch {job} ({result['__typename']}).",
                meaning="Nothing was started.",
                remedy="Look at the page Deployment of Dagster: the code location must be loaded.",
            )
        return str(result["run"]["runId"])

    def terminate(self, username: str, run_id: str) -> None:
        """End a run as Dagster's button "Terminate" does.

        A run whose process is just being started cannot be ended yet. It is ended as soon as it can be, in a thread.

        Raises:
            RequestError: it has ended, or there is none.
        """
        if self._ended(username, run_id):
            return
        state = self.find(run_id)
        if state is None or not state.unfinished:
            raise RequestError(
                f"The run {run_id} was not cancelled: it has ended, or there is none.",
                code=409,
                meaning="Nothing was changed by this request.",
                remedy="Look at the run: its state and its log say how it ended.",
            )
        self._try_again(username, run_id)

    def go_on_ending(self, cancelled: Mapping[str, str]) -> None:
        """End the runs that somebody cancelled, and that could not be ended before the site stopped.

        Args:
            cancelled: by run, who has cancelled it.
        """
        for run_id, username in cancelled.items():
            state = self.find(run_id)
            if state is not None and state.unfinished and state.status != "cancelling":
                self._try_again(username, run_id)

    def _try_again(self, username: str, run_id: str) -> None:
        with self._lock:
            if run_id not in self._ending:
                self._ending.add(run_id)
                threading.Thread(target=self._end_later, args=(username, run_id), daemon=True).start()

    def _ended(self, username: str, run_id: str) -> bool:
        answer = self._execute(_TERMINATE, {"runId": run_id}, username)["terminateRun"]["__typename"]
        return bool(answer == "TerminateRunSuccess")

    def _end_later(self, username: str, run_id: str) -> None:
        """Try again until it works, the run has ended, or nobody waits for it any more."""
        until = time.monotonic() + TERMINATE_SECONDS
        try:
            while time.monotonic() < until:
                time.sleep(TERMINATE_POLL_SECONDS)
                if self._ended(username, run_id):
                    return
                state = self.find(run_id)
                if state is None or not state.unfinished:
                    return
            _log.error("The run %s could not be ended in %.0f s.", run_id, TERMINATE_SECONDS)
        except PipelineError as error:
            _log.error("The run %s could not be ended: %s", run_id, error)
        finally:
            with self._lock:
                self._ending.discard(run_id)

    def end_unqueued(self) -> None:
        """End the runs that the last site has made, and not queued when it was stopped. Called before this one serves.

        Nothing would ever start them, and whoever starts the same is led to them. The daemon looks after its own runs.
        """
        instance = self._context.instance
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED])):
            if _OF_THE_DAEMON.isdisjoint(run.tags):
                instance.report_run_failed(run, _UNQUEUED)

    def find(self, run_id: str) -> RunState | None:
        """Return a run; None if there is none of this id."""
        record = self._context.instance.get_run_record_by_id(run_id)
        if record is None:
            return None
        state = self._shown(record)
        if state.status == "failed" and self._was_cancelled_first(run_id):
            return replace(state, status="cancelled")
        return state

    def _shown(self, record: dg.RunRecord) -> RunState:
        """A run is being cancelled as soon as somebody has asked for it.

        Dagster calls it queued again if the daemon takes it from the queue at the same moment (`run_launcher`).
        """
        state = _state(record)
        ends = state.unfinished and state.run_id in self._ending
        if ends or (state.status == "queued" and is_cancelled(self._context.instance, state.run_id)):
            return replace(state, status="cancelling")
        return state

    def _was_cancelled_first(self, run_id: str) -> bool:
        """Whether a run was cancelled while its process was being started; Dagster then calls it failed."""
        kinds = {dg.DagsterEventType.RUN_CANCELING, dg.DagsterEventType.STEP_START}
        records = self._context.instance.get_records_for_run(run_id, of_type=kinds).records
        seen = {record.event_log_entry.get_dagster_event().event_type for record in records}
        return seen == {dg.DagsterEventType.RUN_CANCELING}

    def unfinished(self, jobs: Sequence[str] | None = None) -> list[RunState]:
        """Return the runs of some jobs, or of all, that are queued or run, the newest first."""
        ended = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
        statuses = [status for status in dg.DagsterRunStatus if status not in ended]
        records = self._context.instance.get_run_records(dg.RunsFilter(statuses=statuses))
        return [self._shown(record) for record in records if jobs is None or record.dagster_run.job_name in jobs]

    def most_at_once(self) -> int | None:
        """Return how many runs may work at the same time; None if there is no limit."""
        queue = self._context.instance.get_concurrency_config().run_queue_config
        return queue.max_concurrent_runs if queue and queue.max_concurrent_runs > 0 else None

    def log(self, run_id: str, last: int | None = None) -> RunLog:
        """Return what a run has said; nothing if there is no such run.

        Args:
            last: at most so many of its newest events are read; a reimport has a few hundred.
        """
        records = self._context.instance.get_records_for_run(run_id, limit=last, ascending=False).records
        lines: list[LogLine] = []
        cancelled = False
        for record in reversed(records):
            lines += _lines(record.event_log_entry, cancelled=cancelled)
            event = record.event_log_entry.dagster_event
            cancelled |= event is not None and event.event_type is dg.DagsterEventType.RUN_CANCELING
        return RunLog(records[0].storage_id if records else 0, lines, len(records) != last)

    def _execute(self, query: str, variables: Mapping[str, Any], username: str) -> dict[str, Any]:
        context = self._context.create_request_context(Requester.admin(username))
        answer = async_to_sync(self._schema.execute_async)(query, context_value=context, variables=variables)
        if answer.errors or answer.data is None:
            _log.error("Dagster's answer: %s", answer.errors)
            raise PipelineError(
                "Dagster did not carry out the request.",
                meaning="Nothing was started or ended.",
                remedy="Try again; the log of the console has Dagster's answer.",
            )
        data: dict[str, Any] = answer.data
        return data


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _state(record: dg.RunRecord) -> RunState:
    run = record.dagster_run
    return RunState(
        run.run_id,
        run.job_name,
        _STATUSES.get(run.status, "queued"),
        _time(record.start_time),
        _time(record.end_time),
        run.run_config,
    )


def _lines(entry: dg.EventLogEntry, *, cancelled: bool) -> Iterator[LogLine]:
    at = datetime.fromtimestamp(entry.timestamp, UTC)
    event = entry.dagster_event
    if event is None:
        yield LogLine(at, _level(int(entry.level)), entry.user_message)
    elif event.event_type is dg.DagsterEventType.STEP_FAILURE and cancelled:  # it was ended, and did not fail
        yield LogLine(at, "info", f"{event.step_key} was ended.")
    elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
        yield LogLine(at, "error", f"{event.step_key} failed. {_sentences(event)}".strip())
    elif event.event_type in _SAID:
        said = _UNQUEUED if event.message == _UNQUEUED else _SAID[event.event_type]
        yield LogLine(at, "error" if event.event_type in _BAD else "info", said)


def _sentences(event: dg.DagsterEvent) -> str:
    """What an error of ours has said; of any other error only Dagster has the text."""
    failure = event.step_failure_data.user_failure_data
    return " ".join(str(value.value) for value in failure.metadata.values()) if failure else ""


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    return "warning" if number >= logging.WARNING else "info"
