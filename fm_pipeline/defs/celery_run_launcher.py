"""Dagster's launcher for runs on several hosts, by Celery (named in deploy/celery/dagster.yaml; see docs/scaling.md).

It needs the extra `fm_pipeline[hosts]`. The three methods do what `WatchfulRunLauncher` does on one host.
https://docs.dagster.io/deployment/oss/deployment-options/celery
"""

from __future__ import annotations

import dagster as dg
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from fm_pipeline.defs.dagster_internals import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from fm_pipeline.defs.run_launcher import cancel_if_cancelled_in_queue


class WatchfulCeleryRunLauncher(CeleryRunLauncher):  # type: ignore[misc]  # its types are not read
    """Launches each run as a task of Celery, and ends a terminated run as cancelled."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Hand the run to Celery, unless somebody has cancelled it in the queue."""
        if not cancel_if_cancelled_in_queue(self._instance, context.dagster_run):
            super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run. Without the first report Dagster would call it failed."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return DAGSTER_CELERY_TASK_ID_TAG in run.tags and bool(super().terminate(run_id))

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return the state of the task. What Celery does not know counts as alive.

        After a restart of the broker it knows no task, and the runs go on. The sensor dicom_chunks ends the run of a
        chunk whose host is gone, and the time limit ends any other.
        """
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            health: CheckRunHealthResult = super().check_run_worker_health(run)
        except Exception:  # noqa: BLE001  # of whichever broker is used: it does not answer
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.RUNNING) if health.status is WorkerStatus.UNKNOWN else health
