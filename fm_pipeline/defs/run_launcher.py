"""Dagster's default launcher, which also notices that a run died with its code server (named in dagster.yaml).

The default one never looks at its workers: after a crash of the machine a run stays "started" and holds the pool until
its time limit, or until somebody terminates it. Run monitoring asks this one, and then marks the run as failed.
https://docs.dagster.io/deployment/execution/run-monitoring
"""

from __future__ import annotations

import json
import os
import signal

import dagster as dg
import psutil

from fm_pipeline.defs.dagster_internals import GRPC_INFO_TAG, CheckRunHealthResult, LaunchRunContext, WorkerStatus
from fm_pipeline.defs.run_process import is_run_process

CLOCK_SECONDS = 5.0  # start times of processes and of events come from different clocks


def is_cancelled(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Return whether somebody has cancelled a run, whatever its status is now."""
    cancelled = {dg.DagsterEventType.RUN_CANCELING, dg.DagsterEventType.RUN_CANCELED}
    return bool(instance.get_records_for_run(run_id, of_type=cancelled, limit=1).records)


def cancel_if_cancelled_in_queue(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """End a run as cancelled if somebody has cancelled it in the queue; returns whether it was.

    The daemon reads the queue and then starts what it has read, so that it starts a run that is cancelled meanwhile
    (https://github.com/dagster-io/dagster/issues/3323).
    """
    if not is_cancelled(instance, run.run_id):
        return False
    instance.report_run_canceled(run, message="It was cancelled in the queue, and is not started.")
    return True


class WatchfulRunLauncher(dg.DefaultRunLauncher):
    """Tells run monitoring whether the process of a run on this machine is alive, and ends it without its server."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the run's process, unless somebody has cancelled the run in the queue."""
        if not cancel_if_cancelled_in_queue(self._instance, context.dagster_run):
            super().launch_run(context)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process lives. Where that cannot be known it counts as alive: the time limit remains.

        After the clock was set forward, every process seems to have begun after the event that names it: the system
        keeps the time since the boot. So a process of any run counts as this one's.
        """
        worker = self._worker(run)
        if worker is None or _is_alive(*worker) or _is_of_a_run(worker[0]):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"The run's process {worker[0]} is gone.")

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run's process on this machine, as its code server makes the run do to itself.

        The code server may have been killed or stopped meanwhile, and the new one does not know the run. Dagster would
        then say "canceled" after three minutes, and the run would go on.
        """
        run = self._instance.get_run_by_id(run_id)
        worker = self._worker(run) if run is not None and not run.is_finished else None
        if run is None or worker is None or not _is_alive(*worker):
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        os.kill(worker[0], signal.SIGINT)
        return True

    def _worker(self, run: dg.DagsterRun) -> tuple[int, float] | None:
        """Process id of the run's worker on this machine, and when it said so; None if nobody knows."""
        server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
        if not server.get("socket") and server.get("host") not in ("localhost", "127.0.0.1"):
            return None  # launched by something else, or on another machine
        records = self._instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
        for record in records:
            entry = record.event_log_entry
            pid = entry.get_dagster_event().engine_event_data.metadata.get("pid")
            if pid is not None:
                return int(str(pid.value)), entry.timestamp
        return None


def _is_of_a_run(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and is_run_process(process)
    except psutil.Error:
        return False


def _is_alive(pid: int, since: float) -> bool:
    """Whether that process lives, and not a later one that was given its number."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= since + CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
