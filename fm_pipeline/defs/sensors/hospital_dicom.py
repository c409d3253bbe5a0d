"""Watches the hospital's directory, and starts an import of what is new.

What it does is decided in `fm_pipeline.dicom.sensor.decision`; here only Dagster is asked and told. It is on from the
start, and does nothing until the configuration says so: there is one switch, and it works without a restart.
https://docs.dagster.io/guides/automate/sensors
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import dagster as dg

from fm_pipeline.defs.assets.dicom import INSTANCES, JOB_TAG, STEP
from fm_pipeline.defs.dagster_internals import RUN_KEY_TAG
from fm_pipeline.defs.dicom_chunks_job import dicom_import_chunks
from fm_pipeline.defs.jobs import dicom_import
from fm_pipeline.dicom.history.jobs import SENSOR, Job
from fm_pipeline.dicom.log import import_log
from fm_pipeline.dicom.sensor.decision import SensorCursor, run_keys
from fm_pipeline.dicom.sensor.tick import TickResult, sense
from fm_pipeline.errors import redacted
from fm_pipeline.notifications.alerts import enqueue_alert
from fm_pipeline.notifications.console_pages import DICOM_PAGE, RUN_PAGE
from fm_pipeline.notifications.email_texts.dicom_import import directory_unreadable, import_stopped
from fm_pipeline.settings import Settings

# The shortest interval that can be configured; each tick asks whether the configured one has passed.
INTERVAL_SECONDS = 10
RUNS_LOOKED_AT = 200  # of those that have not ended; four run at once
_PAGE = f"locations/fm_pipeline/sensors/{SENSOR}"  # in Dagster's UI
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def hospital_dicom_sensor(read_settings: Callable[[], Settings]) -> dg.SensorDefinition:
    """The sensor of a code location."""

    @dg.sensor(
        name=SENSOR,
        job=dicom_import,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Imports new files of the watched directory, one job at a time. To switch watching on or off, and"
        " to choose the directory: the console, page DICOM, Configuration; or `fm-pipeline dicom configure"
        " --monitoring-enabled`. Leave the sensor on: it asks for the configuration at each tick.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        # Whatever is raised here makes a failed tick: an error is never a reason to skip. Dagster then keeps the cursor
        # of the tick before, so the next one looks at the directory again.
        with redacted():
            settings = read_settings()
        with redacted(), import_log(settings):
            sensed = sense(
                settings,
                SensorCursor.read(context.cursor),
                now=datetime.now(UTC),
                runs_unfinished=len(unfinished_imports(context.instance)),
                attempts_of=lambda job: _attempts(context.instance, job),
            )
            _tell(settings, sensed)
            if sensed.error:
                raise sensed.error
        context.update_cursor(sensed.watermark.write())
        if sensed.start is None:
            return dg.SkipReason(sensed.reason)
        context.log.info(sensed.reason)
        config = {"job_id": sensed.start.job_id, "requested_by": SENSOR}
        return dg.RunRequest(
            run_key=sensed.start.run_key,
            run_config={"ops": {STEP: {"config": config}}},
            tags={JOB_TAG: str(sensed.start.job_id)},
        )

    return sensor


def _tell(settings: Settings, sensed: TickResult) -> None:
    """Put the emails of a tick into the outbox, unless they are there already."""
    now = datetime.now(UTC)
    for job in sensed.stopped:
        text = import_stopped(
            job.id,
            job.reason,
            job.message,
            files=job.files,
            marked=job.marked,
            others_go_on=job.others_go_on,
            retries=job.retries,
        )
        link = f"runs/{job.run_id}" if job.run_id else _PAGE
        page = RUN_PAGE.format(job.run_id) if job.run_id else DICOM_PAGE
        enqueue_alert(settings, job.key, text, now=now, page=page, link=link)
    if sensed.error:
        text = directory_unreadable(sensed.error)
        enqueue_alert(settings, sensed.error_key, text, now=now, page=DICOM_PAGE, link=_PAGE)


def unfinished_imports(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """Runs of an import that wait or run, whichever job they belong to: "Materialize" has one of its own."""
    runs = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED), limit=RUNS_LOOKED_AT)
    names = {dicom_import.name, dicom_import_chunks.name}
    return [run for run in runs if run.job_name in names or INSTANCES in (run.asset_selection or ())]


def _attempts(instance: dg.DagsterInstance, job: Job) -> int:
    return instance.get_runs_count(dg.RunsFilter(tags={RUN_KEY_TAG: run_keys(job)}))
