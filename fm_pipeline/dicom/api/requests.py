"""Requests that change something. They are logged and audited, also when they are refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from fm_pipeline.db.audit import AuditAction, AuditOutcome, audited, record, record_done
from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.choices import JobType
from fm_pipeline.dicom.configuration.configuration import read_configuration
from fm_pipeline.dicom.configuration.roots import allowed_path, excluded_folders
from fm_pipeline.dicom.history.chunks import in_chunks
from fm_pipeline.dicom.history.history import prune_history
from fm_pipeline.dicom.history.jobs import SENSOR, Job, create_job, get_job, request_cancel
from fm_pipeline.dicom.history.one_person import SamePerson, confirm_one_person
from fm_pipeline.dicom.paths import real_path
from fm_pipeline.errors import PipelineError, RequestError, Stop
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

if TYPE_CHECKING:
    from fm_pipeline.dicom.importer.run_job import ImportOptions, OnProgress

_log = logging.getLogger(__name__)


@contextmanager
def audited_refusals(
    settings: Settings, *, actor: str, action: AuditAction, run_id: str | None = None
) -> Iterator[None]:
    """Log and audit a RequestError in the block, and raise it again."""
    try:
        yield
    except RequestError as error:
        _log.warning("Refused (%s): %s", action, error)
        record(
            settings.nexus_database_url.get_secret_value(),
            actor=actor,
            action=action,
            outcome="refused",
            run_id=run_id,
            detail=str(error),
        )
        raise


def requested_path(settings: Settings, path: str | None) -> str:
    """Return the requested path, or the configured one, after checking that it is allowed.

    Raises:
        RequestError: there is neither, or it is not below an allowed root. Nothing was read.
    """
    if path is None:
        with connect(settings.nexus_database_url.get_secret_value()) as connection:
            path = read_configuration(connection, settings).hospital_data_path
    if path is None:
        raise RequestError(
            "No directory was named, and none is configured.",
            remedy="Name one, or: fm-pipeline dicom configure --hospital-data-path PATH",
        )
    return allowed_path(settings, path)


def prepare_import(
    settings: Settings,
    path: str | None,
    job_type: JobType,
    *,
    actor: str,
    files: Sequence[str] | None = None,
    total: tuple[int, int] = (0, 0),
) -> Job:
    """Create a job for a directory, or for some files in it. Nothing is read yet.

    Args:
        path: as typed by a person; None for the configured one.
        total: as `create_job`.

    Raises:
        RequestError: the path is not allowed, or the type is unknown.
    """
    database_url = settings.nexus_database_url.get_secret_value()
    with audited_refusals(settings, actor=actor, action="dicom_import"):
        source_path = requested_path(settings, path)
        job = create_job(database_url, source_path, job_type, requested_by=actor, files=files, total=total)
    _log.info("Import job %d (%s) was made.", job.id, job_type)
    return job


def prepare_shared_import(settings: Settings, path: str | None, job_type: JobType, *, actor: str) -> Job:
    """List a directory, and create a job in chunks for it, which several processes can share.

    Args:
        path: as `prepare_import`.

    Raises:
        as `prepare_import`; RootUnavailable: the directory cannot be listed, or is empty.
    """
    from fm_pipeline.dicom.importer.cut import create_shared_job  # noqa: PLC0415  # slow to import

    database_url = settings.nexus_database_url.get_secret_value()
    with audited_refusals(settings, actor=actor, action="dicom_import"):
        source_path = requested_path(settings, path)
        job = create_shared_job(
            database_url,
            source_path,
            job_type,
            requested_by=actor,
            excluded=excluded_folders(settings),
        )
    _log.info("Import job %d (%s) was made, in chunks.", job.id, job_type)
    return job


def start_shared_import(settings: Settings, job_id: int, *, actor: str, run_id: str) -> Job:
    """Start or resume a job whose chunks are carried out by runs of Dagster. Nothing is imported here.

    Raises:
        as `run_chunks`.
    """
    from fm_pipeline.dicom.importer.run_chunks import start_chunks  # noqa: PLC0415  # slow to import

    database_url = settings.nexus_database_url.get_secret_value()
    with audited_refusals(settings, actor=actor, action="dicom_import", run_id=run_id):
        allowed_path(settings, real_path(get_job(database_url, job_id).source_path))
        job = start_chunks(settings, job_id, run_id=run_id)
    record(database_url, actor=actor, action="dicom_import", outcome="started", run_id=run_id, detail=f"Job {job_id}.")
    return job


def carry_out(
    settings: Settings,
    job_id: int,
    *,
    actor: str,
    run_id: str | None = None,
    on_progress: OnProgress | None = None,
    options: ImportOptions | None = None,
    chunk: int | None = None,
) -> Job:
    """Run or resume a job, or join one in chunks that runs already. Its start and its end are audited.

    Args:
        chunk: carry out only this chunk of a job in chunks that runs.

    Returns:
        as `run_job` or `run_chunks`.

    Raises:
        as `run_job`. The path of the job is checked against the allowed roots again, since they may
        have changed since it was made.
        RequestError: also when somebody cancelled a job of the sensor before its run began: only a person goes on
        with what a person has ended.
    """
    from fm_pipeline.dicom.importer.run_chunks import run_chunks  # noqa: PLC0415  # slow to import
    from fm_pipeline.dicom.importer.run_job import run_job  # noqa: PLC0415

    database_url = settings.nexus_database_url.get_secret_value()

    def note(outcome: AuditOutcome, detail: str) -> None:
        record(database_url, actor=actor, action="dicom_import", outcome=outcome, run_id=run_id, detail=detail)

    with audited_refusals(settings, actor=actor, action="dicom_import", run_id=run_id):
        job = get_job(database_url, job_id)
        allowed_path(settings, real_path(job.source_path))
        if actor == SENSOR and job.status == "cancelled" and job.cancel_requested_at:
            raise RequestError(
                f"Import job {job_id} was cancelled while its run was queued.",
                meaning="It was not carried out.",
                remedy=f"To carry it out after all: fm-pipeline dicom import --job-id {job_id}",
            )
        if chunk is None and (job.status != "running" or options is None or options.limit is None):
            # else its start is on record
            note("started", f"Job {job_id}.")
        try:
            if in_chunks(database_url, job_id):
                job = run_chunks(settings, job_id, run_id=run_id, on_progress=on_progress, options=options, only=chunk)
            else:
                job = run_job(settings, job_id, run_id=run_id, on_progress=on_progress, options=options)
        except RequestError:
            raise
        except Stop as stop:
            note("refused", f"Job {job_id}: {stop}")
            raise
        except Exception as error:
            said = str(error) if isinstance(error, PipelineError) else type(error).__name__
            _end(note, "failed", f"Job {job_id}: {said}")
            raise
        except BaseException as error:
            _end(note, "cancelled", f"Job {job_id}: {type(error).__name__}.")
            raise
    if job.status != "running":  # else a part of it is done
        _end(
            note,
            "cancelled" if job.status == "cancelled" else "done",
            f"Job {job_id}: {counted(job.files_processed, 'file')}.",
        )
    return job


def _end(note: Callable[[AuditOutcome, str], None], outcome: AuditOutcome, detail: str) -> None:
    """Audit the end of an import. An error here must not turn a success into a failure, or hide another error."""
    try:
        note(outcome, detail)
    except PipelineError as error:
        _log.warning("The audit trail has no end of this import, which is: %s. %s", outcome, error)


def cancel_import(settings: Settings, job_id: int, *, actor: str) -> Job:
    """Request the cancellation of a job.

    Raises:
        RequestError: there is no such job (404), or it has ended.
    """
    database_url = settings.nexus_database_url.get_secret_value()
    with audited_refusals(settings, actor=actor, action="dicom_cancel"):
        job = request_cancel(database_url, job_id)
    record(database_url, actor=actor, action="dicom_cancel", outcome="done", detail=f"Job {job_id}.")
    _log.info("Job %s: its cancelling was asked for.", job_id)
    return job


def monitoring_continues(settings: Settings, job: Job) -> bool:
    """Return whether a job is the sensor's, and the sensor continues with other files after its cancellation."""
    if job.requested_by != SENSOR:
        return False
    with connect(settings.nexus_database_url.get_secret_value()) as connection:
        return read_configuration(connection, settings).monitoring_enabled


def one_person(settings: Settings, row_id: int, *, persons: int | None, actor: str) -> SamePerson:
    """Confirm that a Patient ID with several names belongs to one person, or only count; see `confirm_one_person`.

    Args:
        persons: the number of names and birth dates that was shown to whom confirms it; None to count only.

    Raises:
        RequestError: there is no row of this id with the flag (404), or a further person was met since (409).
    """
    with (
        audited_refusals(settings, actor=actor, action="dicom_one_person"),
        connect(settings.nexus_database_url.get_secret_value()) as connection,
        connection.cursor() as cursor,
    ):
        same = confirm_one_person(cursor, row_id, persons)
        if persons is not None:
            detail = f"By row {row_id} of the history of DICOM imports; {counted(same.rows, 'row')} had the flag."
            record_done(cursor, actor=actor, action="dicom_one_person", detail=detail)
            connection.commit()
        else:
            connection.rollback()
    return same


def prune(settings: Settings, older_than: datetime, *, really: bool, actor: str) -> int:
    """Count or delete redundant rows of history from before a moment; see `prune_history`."""
    database_url = settings.nexus_database_url.get_secret_value()
    if not really:
        return prune_history(database_url, older_than, dry_run=True)
    with audited(database_url, actor=actor, action="dicom_prune"):
        rows = prune_history(database_url, older_than, dry_run=False)
    removed = counted(rows, "row of history was", "rows of history were")
    _log.info("%s removed, from before %s.", removed, f"{older_than:%Y-%m-%d}")
    return rows
