"""Dagster's launcher for runs on several hosts, by Celery (named in deploy/celery/dagster.yaml; see docs/scaling.md).

Only the runs of chunks go to other hosts. A reimport leaves backups, reports and mails in the folders of its host, so
every other run stays on the hub, and is launched there as on one host.

It needs the extra `fm_pipeline[hosts]`. For the runs that go to Celery, the three methods do what `WatchfulRunLauncher`
does on one host.
https://docs.dagster.io/deployment/oss/deployment-options/celery
"""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG, DAGSTER_CELERY_TASK_ID_TAG

from fm_pipeline.defs.dagster_internals import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from fm_pipeline.defs.run_launcher import WatchfulRunLauncher, cancel_if_cancelled_in_queue

_NO_BROKER = (
    "The run was not interrupted: Celery's broker (DAGSTER_BROKER) does not answer. `fm-pipeline dicom cancel` cancels"
    " an import without it."
)


class WatchfulCeleryRunLauncher(CeleryRunLauncher):  # type: ignore[misc]  # its types are not read
    """Launches a run that names a queue as a task of Celery, and any other as `WatchfulRunLauncher` does."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self._hub = WatchfulRunLauncher()

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Take the instance whose runs are launched."""
        super().register_instance(instance)
        self._hub.register_instance(instance)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Hand the run to Celery or start it here, unless somebody has cancelled it in the queue."""
        if not _is_for_celery(context.dagster_run):
            self._hub.launch_run(context)
        elif not cancel_if_cancelled_in_queue(self._instance, context.dagster_run):
            super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Interrupt the run. Without the first report Dagster would call it failed.

        Returns:
            Whether it was interrupted. If the broker does not answer, the run's log says so.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if not _is_for_celery(run):
            return self._hub.terminate(run_id)
        self._instance.report_run_canceling(run)
        try:
            return DAGSTER_CELERY_TASK_ID_TAG in run.tags and bool(super().terminate(run_id))
        except Exception:  # noqa: BLE001  # of whichever broker is used: it does not answer
            self._instance.report_engine_event(_NO_BROKER, run)
            return False

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return the state of the run's process, or of its task. What Celery does not know counts as alive.

        After a restart of the broker it knows no task, and the runs go on. The sensor dicom_chunks ends the run of a
        chunk whose host is gone, and the time limit ends any other.
        """
        if not _is_for_celery(run):
            return self._hub.check_run_worker_health(run)
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            health: CheckRunHealthResult = super().check_run_worker_health(run)
        except Exception:  # noqa: BLE001  # of whichever broker is used: it does not answer
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.RUNNING) if health.status is WorkerStatus.UNKNOWN else health

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Return what Celery knows of the task, for the message of a run that is given up."""
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return None
        info: str | None = super().get_run_worker_debug_info(run, include_container_logs)
        return info


def _is_for_celery(run: dg.DagsterRun) -> bool:
    return DAGSTER_CELERY_QUEUE_TAG in run.tags
