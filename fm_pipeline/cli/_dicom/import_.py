"""`fm-pipeline dicom import`: make a job and carry it out, or go on with one."""

from __future__ import annotations

import sys
import uuid
from contextlib import nullcontext
from typing import Any

import click

from fm_pipeline.cli._dicom._answer import Call, as_json_option, called, path_argument
from fm_pipeline.cli._dicom.status import show_job
from fm_pipeline.cli._interrupts import heed_ctrl_c
from fm_pipeline.dicom.api.answers import FAILURES, job_answer
from fm_pipeline.dicom.api.calls import carry_out, prepare_import
from fm_pipeline.dicom.history.history import list_history
from fm_pipeline.dicom.history.jobs import JOB_TYPES, Job, JobType, get_job
from fm_pipeline.dicom.importer.run import THREADS, Options
from fm_pipeline.dicom.orthanc.client import need_orthanc_url
from fm_pipeline.dicom.scan.excluded_folders import REASON as EXCLUDED_FOLDER
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress

INTERRUPTED = 130
ERRORS_SHOWN = 100
NOT_OPENED = (("archive_not_opened", "archive", "archives"), ("nested_archive", "archive in one", "archives in one"))


@click.command(name="import")
@path_argument
@click.option("--type", "job_type", type=click.Choice(JOB_TYPES), help="What kind of job.  [default: manual]")
@click.option("--job-id", type=int, help="Carry out, or go on with, this job instead of a new one.")
@click.option("--prepare", is_flag=True, help="Only make the job, and print its number for Dagster or for later.")
@click.option("--threads", type=click.IntRange(1, 32), default=THREADS, show_default=True, help="Uploads side by side.")
@click.option("--verify-md5", is_flag=True, help="Compare also the MD5 of every instance with Orthanc afterwards.")
@click.option("--retry-suspects", is_flag=True, help="Send also files that are known or feared to end old Orthancs.")
@as_json_option
def command(
    path: str | None,
    job_type: JobType | None,
    job_id: int | None,
    prepare: bool,
    threads: int,
    verify_md5: bool,
    retry_suspects: bool,
    as_json: bool,
) -> None:
    """Import the DICOM files under PATH (by default the configured directory) into Orthanc.

    What Orthanc has already is recognised before it is sent. Ctrl-C cancels cleanly; the job can be gone on with.
    """
    if job_id is not None and (path or job_type or prepare):
        raise click.UsageError("--job-id names a job that exists: it has its path and type.")
    options = Options(threads=threads, verify_md5=verify_md5, retry_suspects=retry_suspects)
    with called(as_json) as call:
        if not prepare:
            need_orthanc_url(call.settings)  # before a job is made that would be left over
        if job_id is None:
            job = prepare_import(call.settings, path, job_type or "manual", actor=call.actor)
            if prepare:
                _prepared(call, job)
                return
            job_id = job.id
        else:
            get_job(call.database_url, job_id)  # before anything is said of it
        job = _carry_out(call, job_id, options)
        if as_json:
            call.answer(_processed(call, job), "Import job processed successfully")
        else:
            show_job(call, job)
            _look_into(call, job)
        if job.status != "completed":
            sys.exit(1)


def _carry_out(call: Call, job_id: int, options: Options) -> Job:
    heed_ctrl_c()
    run_id = f"dicom-{job_id}-{uuid.uuid4()}"
    if not call.as_json:
        call.say(f"Import job {job_id}. Ctrl-C cancels it; it can be gone on with.")
    shown = nullcontext() if call.as_json else run_progress(call.settings, run_id, console=call.console)
    try:
        with shown as progress:
            on_progress = progress.update if progress else None
            return carry_out(call.settings, job_id, actor=call.actor, on_progress=on_progress, options=options)
    except KeyboardInterrupt:
        job = get_job(call.database_url, job_id)
        if call.as_json:
            call.answer(_processed(call, job), "Import job cancelled successfully")
        else:
            call.say(f"Cancelled. {counted(job.files_processed, 'file')} on record.", "yellow")
            call.say(f"To go on where it ended: fm-pipeline dicom import --job-id {job.id}")
            _look_into(call, job)
        sys.exit(INTERRUPTED)


def _prepared(call: Call, job: Job) -> None:
    if call.as_json:
        call.answer(job_answer(job, call.zone), "Import job created successfully")
        return
    call.say(f"Import job {job.id} was made. To carry it out: fm-pipeline dicom import --job-id {job.id},")
    call.say(f"or in Dagster the job dicom_import with job_id: {job.id}")


def _look_into(call: Call, job: Job) -> None:
    """Which lists tell more."""
    for reason, one, many in NOT_OPENED:
        if count := list_history(call.database_url, limit=1, job_id=job.id, reason=reason).total:
            call.say(f"{counted(count, one, many)} not opened. What it holds is not imported:", "yellow")
            call.say("unpack it into a folder beside it, and import again. To list them:")
            call.say(f"fm-pipeline dicom history --job-id {job.id} --reason {reason}")
    left_out = list_history(call.database_url, limit=1, job_id=job.id, reason=EXCLUDED_FOLDER).total
    if left_out:
        call.say(f"{counted(left_out, 'folder')} left out by name (recycle bins, snapshots). To list them:")
        call.say(f"fm-pipeline dicom history --job-id {job.id} --reason {EXCLUDED_FOLDER}")
    if any(job.outcomes[outcome] for outcome in FAILURES):
        call.say(f"What did not come to Orthanc, and why: fm-pipeline dicom history --job-id {job.id}")


def _processed(call: Call, job: Job) -> dict[str, Any]:
    """Call 3: the job, and the first of what went wrong."""
    errors: list[dict[str, Any]] = []
    for outcome in FAILURES:
        if job.outcomes[outcome] and len(errors) < ERRORS_SHOWN:
            left = ERRORS_SHOWN - len(errors)
            page = list_history(call.database_url, limit=left, job_id=job.id, status=outcome)
            errors += [
                {"id": row.id, "file_path": row.file_path, "status": row.status, "reason": row.reason}
                for row in page.history
            ]
    return {**job_answer(job, call.zone), "errors": errors}
