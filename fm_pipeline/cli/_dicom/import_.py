"""`fm-pipeline dicom import`: create and run a job, or resume one."""

from __future__ import annotations

import sys
import uuid
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from fm_pipeline.cli._dicom._context import CommandContext, as_json_option, command_context, path_argument
from fm_pipeline.cli._dicom.status import show_job
from fm_pipeline.cli._shared.interrupts import restore_sigint
from fm_pipeline.dicom.choices import JOB_TYPES, THREADS, JobType
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from fm_pipeline.dicom.choices import JobStatus
    from fm_pipeline.dicom.history.jobs import Job
    from fm_pipeline.dicom.importer.run_job import ImportOptions

INTERRUPTED = 130
AT_CTRL_C: dict[JobStatus, str] = {
    "pending": "The job was not begun.",
    "running": "This host has left; the job goes on.",  # a job in chunks
    "completed": "The job had ended before.",
    "failed": "The job had failed before.",
    "cancelled": "Cancelled.",
}
NOT_OPENED = (("archive_not_opened", "archive", "archives"), ("nested_archive", "archive in one", "archives in one"))


@click.command(name="import")
@path_argument
@click.option("--type", "job_type", type=click.Choice(JOB_TYPES), help="What kind of job.  [default: manual]")
@click.option("--job-id", type=int, help="Run or resume this job instead of a new one.")
@click.option("--prepare", is_flag=True, help="Only create the job, and print its id for Dagster or for later.")
@click.option("--chunks", is_flag=True, help="Cut the new job into chunks that several hosts can share.")
@click.option("--threads", type=click.IntRange(1, 32), default=THREADS, show_default=True, help="Parallel uploads.")
@click.option("--verify-md5", is_flag=True, help="Also compare the MD5 of every instance with Orthanc afterwards.")
@click.option(
    "--retry-suspects", is_flag=True, help="Also send files that are known or expected to crash old Orthancs."
)
@as_json_option
def command(
    path: str | None,
    job_type: JobType | None,
    job_id: int | None,
    prepare: bool,
    chunks: bool,
    threads: int,
    verify_md5: bool,
    retry_suspects: bool,
    as_json: bool,
) -> None:
    """Import the DICOM files under PATH (by default the configured directory) into Orthanc.

    Instances that Orthanc already has are not sent again. Ctrl-C cancels the job, and it can be resumed.
    With --chunks, other hosts join the job by its id; Ctrl-C then ends only the part of this host.
    """
    if job_id is not None and (path or job_type or prepare or chunks):
        raise click.UsageError("--job-id names a job that exists: it has its path and type.")

    from fm_pipeline.dicom.orthanc.address import need_orthanc_url

    # before a job is made that would be left over
    with command_context(as_json, None if prepare else need_orthanc_url) as context:
        from fm_pipeline.dicom.api.requests import prepare_import, prepare_shared_import
        from fm_pipeline.dicom.history.jobs import get_job
        from fm_pipeline.dicom.importer.run_job import ImportOptions

        options = ImportOptions(threads=threads, verify_md5=verify_md5, retry_suspects=retry_suspects)
        if job_id is None:
            make = prepare_shared_import if chunks else prepare_import
            job = make(context.settings, path, job_type or "manual", actor=context.actor)
            if prepare:
                _prepared(context, job)
                return
            job_id = job.id
        else:
            get_job(context.database_url, job_id)  # before anything is said of it
        job = _carry_out(context, job_id, options)
        if as_json:
            context.print_json(_processed(context, job), "Import job processed successfully")
        else:
            show_job(context, job)
            _suggest_history(context, job)
        if job.status != "completed":
            sys.exit(1)


def _carry_out(context: CommandContext, job_id: int, options: ImportOptions) -> Job:
    from fm_pipeline.dicom.api.requests import carry_out
    from fm_pipeline.dicom.history.chunks import in_chunks
    from fm_pipeline.dicom.history.jobs import get_job
    from fm_pipeline.sequence.progress import run_progress

    restore_sigint()
    run_id = f"dicom-{job_id}-{uuid.uuid4()}"
    if not context.as_json:
        shared = in_chunks(context.database_url, job_id)
        ends = "ends the part of this host" if shared else "cancels it"
        context.print(f"Import job {job_id}. Ctrl-C {ends}, and it can be resumed.")
    shown = nullcontext() if context.as_json else run_progress(context.settings, run_id, console=context.console)
    try:
        with shown as progress:
            on_progress = progress.update if progress else None
            return carry_out(context.settings, job_id, actor=context.actor, on_progress=on_progress, options=options)
    except KeyboardInterrupt:
        job = get_job(context.database_url, job_id)
        if context.as_json:
            is_cancelled = job.status == "cancelled"
            said = "Import job cancelled successfully" if is_cancelled else AT_CTRL_C[job.status].rstrip(".")
            context.print_json(_processed(context, job), said)
        else:
            context.print(f"{AT_CTRL_C[job.status]} {counted(job.files_processed, 'file')} on record.", "yellow")
            if job.status != "completed":
                context.print(f"To resume it: fm-pipeline dicom import --job-id {job.id}")
            _suggest_history(context, job)
        sys.exit(INTERRUPTED)


def _prepared(context: CommandContext, job: Job) -> None:
    from fm_pipeline.dicom.api.response_data import job_data
    from fm_pipeline.dicom.history.chunks import in_chunks

    if context.as_json:
        context.print_json(job_data(job, context.zone), "Import job created successfully")
        return
    if in_chunks(context.database_url, job.id):
        context.print(f"Import job {job.id} was created, in chunks. On each host that takes part, run")
        context.print(f"fm-pipeline dicom import --job-id {job.id}")
        context.print(f"or in Dagster, once, the job dicom_import_chunks with job_id: {job.id}")
        return
    context.print(f"Import job {job.id} was made. To carry it out: fm-pipeline dicom import --job-id {job.id},")
    context.print(f"or in Dagster the job dicom_import with job_id: {job.id}")


def _suggest_history(context: CommandContext, job: Job) -> None:
    """Print the commands that list what was not imported."""
    from fm_pipeline.db.connection import connect
    from fm_pipeline.dicom.api.response_data import FAILURES
    from fm_pipeline.dicom.history.history import count_flags, list_history
    from fm_pipeline.dicom.reasons import FLAGS, NOT_STORED
    from fm_pipeline.dicom.scan.excluded_folders import REASON as EXCLUDED_FOLDER

    for reason, one, many in NOT_OPENED:
        if count := list_history(context.database_url, limit=1, job_id=job.id, reason=reason).total:
            context.print(f"{counted(count, one, many)} not opened. What it holds is not imported:", "yellow")
            context.print("unpack it into a folder beside it, and import again. To list them:")
            context.print(f"fm-pipeline dicom history --job-id {job.id} --reason {reason}")
    left_out = list_history(context.database_url, limit=1, job_id=job.id, reason=EXCLUDED_FOLDER).total
    if left_out:
        context.print(f"{counted(left_out, 'folder')} left out by name (recycle bins, snapshots). To list them:")
        context.print(f"fm-pipeline dicom history --job-id {job.id} --reason {EXCLUDED_FOLDER}")
    for reason, said in NOT_STORED.items():
        if count := list_history(context.database_url, limit=1, job_id=job.id, reason=reason).total:
            context.print(f"{counted(count, 'file')} not stored. {said} To list them:", "yellow")
            context.print(f"fm-pipeline dicom history --job-id {job.id} --reason {reason}")
    with connect(context.database_url) as connection, connection.cursor() as cursor:
        flags = count_flags(cursor, job.id)
    for flag, count in flags.items():
        context.print(f"{counted(count, 'file')} to look at. {FLAGS.get(flag, '')} To list them:", "yellow")
        context.print(f"fm-pipeline dicom history --job-id {job.id} --flag {flag}")
    if any(job.outcomes[outcome] for outcome in FAILURES):
        context.print(f"Which files were not stored in Orthanc, and why: fm-pipeline dicom history --job-id {job.id}")


def _processed(context: CommandContext, job: Job) -> dict[str, Any]:
    """Return the job with its first errors."""
    from fm_pipeline.dicom.api.response_data import first_errors, job_data

    return {**job_data(job, context.zone), "errors": first_errors(context.database_url, job)}
