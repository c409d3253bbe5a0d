"""The application of a Celery worker: `celery -A fm_pipeline.defs.celery_worker worker` (see docs/scaling.md).

Broker and queue are those of the run launcher in dagster.yaml, so they are written down once. Celery reads the name
`app` when it imports the module.
"""

from __future__ import annotations

import dagster as dg
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from fm_pipeline.defs.celery_run_launcher import WatchfulCeleryRunLauncher
from fm_pipeline.errors import SettingsError


def _celery_app() -> object:
    with dg.DagsterInstance.get() as instance:
        launcher = instance.run_launcher
        if not isinstance(launcher, WatchfulCeleryRunLauncher):
            raise SettingsError(
                "dagster.yaml in DAGSTER_HOME does not name WatchfulCeleryRunLauncher as the run launcher.",
                meaning="This worker would get no run.",
                remedy="Copy deploy/celery/dagster.yaml into DAGSTER_HOME on every host.",
            )
        create_execute_job_task(launcher.celery)
        create_resume_job_task(launcher.celery)
        return launcher.celery


app = _celery_app()
