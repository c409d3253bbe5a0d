"""Launches a run for each free chunk of an import that several hosts share.

It also ends the run of a chunk that no living process holds: Dagster's default launcher and Celery's do not notice that
a host has died.
https://docs.dagster.io/guides/automate/sensors
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import is_migrated
from fm_pipeline.defs.assets.dicom import JOB_TAG, STEP
from fm_pipeline.defs.dicom_chunks_job import CHUNK_STEP, dicom_import_chunks
from fm_pipeline.defs.jobs import dicom_import
from fm_pipeline.defs.names import CHUNK_TAG, FOR_CELERY
from fm_pipeline.defs.sensors.hospital_dicom import unfinished_imports
from fm_pipeline.dicom.history.chunks import SILENT_SECONDS, free_chunks
from fm_pipeline.errors import redacted
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

INTERVAL_SECONDS = 15
# Runs that wait or run at once. More would only lengthen Dagster's queue: max_concurrent_runs decides how many run.
MOST_RUNS = 32
# A run claims its chunk seconds after its start. A run that has none after this time has lost it.
WITHOUT_A_CHUNK = timedelta(seconds=2 * SILENT_SECONDS)


def dicom_chunks_sensor(read_settings: Callable[[], Settings]) -> dg.SensorDefinition:
    """The sensor that launches a run for each free chunk with files."""
    return _sensor(
        "dicom_chunks",
        dicom_import_chunks.name,
        CHUNK_STEP,
        "Launches the runs of an import that dicom_import_chunks has started, one for each chunk, and again for a chunk"
        " whose host has died. Leave it on: without such an import it does nothing.",
        read_settings,
        closing=False,
    )


def dicom_comparison_sensor(read_settings: Callable[[], Settings]) -> dg.SensorDefinition:
    """The sensor that launches the last run of an import in chunks."""
    return _sensor(
        "dicom_comparison",
        dicom_import.name,
        STEP,
        "Launches the last run of an import that dicom_import_chunks has started: it compares Orthanc with the history"
        " and materializes the assets. Leave it on: without such an import it does nothing.",
        read_settings,
        closing=True,
    )


def _sensor(
    name: str, job_name: str, step: str, description: str, read_settings: Callable[[], Settings], *, closing: bool
) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        job_name=job_name,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        with redacted():
            database_url = read_settings().nexus_database_url.get_secret_value()
            with connect(database_url) as connection, connection.cursor() as cursor:
                free = list(free_chunks(cursor, closing=closing, limit=MOST_RUNS)) if is_migrated(connection) else []
        runs = [run for run in unfinished_imports(context.instance) if CHUNK_TAG in run.tags]
        free_tags = {chunk_tag(*chunk) for chunk in free}
        lost = list(_without_a_chunk(context.instance, runs, free_tags))
        for run in lost:
            context.instance.report_run_failed(
                run, "No living process holds the chunk of this run. Another run is launched for it."
            )
        launched = {run.tags[CHUNK_TAG] for run in runs if run not in lost}
        requests = [
            dg.RunRequest(
                run_config={"ops": {step: {"config": {"job_id": job_id, "chunk": number}}}},
                tags={JOB_TAG: str(job_id), CHUNK_TAG: chunk_tag(job_id, number)} | ({} if closing else FOR_CELERY),
            )
            for job_id, number in free
            if chunk_tag(job_id, number) not in launched
        ]
        return requests[: max(MOST_RUNS - len(launched), 0)] or dg.SkipReason(
            f"No chunk is free; {counted(len(launched), 'run')} of chunks going on."
        )

    return sensor


def chunk_tag(job_id: int, number: int) -> str:
    """Return the value of `CHUNK_TAG`."""
    return f"{job_id}/{number}"


def _without_a_chunk(
    instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun], free: set[str]
) -> Iterator[dg.DagsterRun]:
    before = datetime.now(UTC) - WITHOUT_A_CHUNK
    for run in runs:
        if run.status is dg.DagsterRunStatus.STARTED and run.tags[CHUNK_TAG] in free:
            record = instance.get_run_record_by_id(run.run_id)
            if record and record.update_timestamp.replace(tzinfo=UTC) < before:  # Dagster keeps UTC without a zone
                yield run
