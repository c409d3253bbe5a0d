"""`fm-pipeline dicom status`: show the progress of a job."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fm_pipeline.cli._dicom._context import CommandContext, as_json_option, cells, command_context, table
from fm_pipeline.cli._shared.interrupts import restore_sigint
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.errors import RequestError
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from fm_pipeline.dicom.history.jobs import Job

EVERY_SECONDS = 1.0
ACTIVE = ("pending", "running")


@click.command(name="status")
@click.argument("job_id", type=int, required=False)
@click.option("--watch", is_flag=True, help="Show it again every second, until the job ends or Ctrl-C.")
@as_json_option
def command(job_id: int | None, watch: bool, as_json: bool) -> None:
    """Show how far an import job is; without JOB_ID the newest one."""
    if watch and as_json:
        raise click.UsageError("--watch is for people and --json for programs; take one of them.")

    from fm_pipeline.dicom.api.response_data import job_data
    from fm_pipeline.dicom.history.jobs import get_job

    with command_context(as_json) as context:
        job = get_job(context.database_url, _newest(context) if job_id is None else job_id)
        if as_json:
            context.print_json(job_data(job, context.zone))
            return
        show_job(context, job)
        if job_id is None:
            _show_watching(context)
        restore_sigint()
        with suppress(KeyboardInterrupt):
            while watch and job.status in ACTIVE:
                time.sleep(EVERY_SECONDS)
                job = get_job(context.database_url, job.id)
                context.console.clear()
                show_job(context, job)


def _show_watching(context: CommandContext) -> None:
    from fm_pipeline.db.connection import connect
    from fm_pipeline.dicom.configuration.configuration import read_configuration
    from fm_pipeline.dicom.watch.share_times import describe_watching

    with connect(context.database_url) as connection:
        configuration = read_configuration(connection, context.settings)
        if not configuration.monitoring_enabled or not configuration.hospital_data_path:
            return
        said = describe_watching(connection, configuration.hospital_data_path, now=datetime.now(UTC), zone=context.zone)
    for line in said:
        context.print(line)


def _newest(context: CommandContext) -> int:
    from fm_pipeline.dicom.history.jobs import list_jobs

    page = list_jobs(context.database_url, limit=1)
    if not page.jobs:
        raise RequestError("There is no import job yet.", code=404, remedy="fm-pipeline dicom import creates one.")
    return page.jobs[0].id


def show_job(context: CommandContext, job: Job) -> None:
    """Print a job with its counts."""
    from fm_pipeline.dicom.api.response_data import job_data

    answer = job_data(job, context.zone)
    context.print(f"Job {job.id}, {job.job_type}: {job.status}", style="bold")
    context.print(f"asked for by {job.requested_by} at {answer['created_at']}")
    if job.started_at:
        context.print(
            f"started {answer['started_at']}" + (f", ended {answer['completed_at']}" if job.completed_at else "")
        )
    _show_progress(context, job)
    shown = table("files", "ended as", right=("files",))
    for outcome, count in answer["outcomes"].items():
        if count:
            shown.add_row(*cells(f"{count:,}", outcome))
    if job.files_unchanged:
        shown.add_row(*cells(f"{job.files_unchanged:,}", "unchanged since an earlier job, not opened"))
    if shown.row_count:
        context.console.print(shown)
    if job.directories_unreadable:
        context.print(
            f"{counted(job.directories_unreadable, 'directory', 'directories')} could not be read:"
            " the total is not complete.",
            "red",
        )
    if job.instances_expected is not None:
        fault = bool(job.instances_missing or job.instances_differing)
        context.print(
            f"Compared with Orthanc: {counted(job.instances_expected, 'instance')} expected,"
            f" {job.instances_missing or 0:,} missing, {job.instances_differing or 0:,} differing.",
            "red" if fault else "green",
        )
    if job.error_message:
        context.print(job.error_message, "red")
    if job.status in ("cancelled", "failed"):
        context.print(f"To resume it: fm-pipeline dicom import --job-id {job.id}")


def _show_progress(context: CommandContext, job: Job) -> None:
    """Print a progress bar for an active job, or the result of one that has ended."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    from fm_pipeline.dicom.api.response_data import job_data

    total = counted(job.total_files, "file")
    left = job_data(job, context.zone)["estimated_time_remaining_formatted"]
    if job.status in ACTIVE:
        bar = Table.grid()
        bar.add_row(ProgressBar(total=100, completed=job.progress_percentage, width=60))
        context.console.print(bar)
        context.print(
            f"{job.files_processed:,} of {total}{'' if job.scan_complete else ', and the scan goes on'}"
            f" ({job.progress_percentage:.0f} %), {size_formatted(job.total_size_bytes)}"
            + (f", about {left} left" if left else "")
        )
        _show_chunks(context, job)
    elif not job.started_at:
        context.print("It was never started.")
    else:
        context.print(
            f"{job.files_processed:,} of {total} have an outcome; {size_formatted(job.total_size_bytes)} in all"
        )
        if not job.scan_complete:
            context.print(
                "The scan did not reach the end of the directory: there may be more files than these.", "yellow"
            )


def _show_chunks(context: CommandContext, job: Job) -> None:
    """Print how many chunks are done, if several hosts share the job."""
    from fm_pipeline.db.connection import connect
    from fm_pipeline.dicom.history.chunks import chunk_counts

    with connect(context.database_url) as connection, connection.cursor() as cursor:
        chunks = chunk_counts(cursor, job.id)
    if chunks.total:
        context.print(f"{chunks.done:,} of {counted(chunks.total, 'chunk')} done, {chunks.claimed:,} at work")
