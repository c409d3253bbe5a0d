"""`fm-pipeline dicom jobs`: list the import jobs, newest first."""

from __future__ import annotations

import click

from fm_pipeline.cli._dicom._context import as_json_option, cells, command_context, table
from fm_pipeline.dicom.choices import JOB_STATUSES, JOB_TYPES, LONGEST_JOB_PAGE, JobStatus, JobType
from fm_pipeline.pluralize import page as shown_of


@click.command(name="jobs")
@click.option("--limit", type=int, default=20, show_default=True, help=f"How many, at most {LONGEST_JOB_PAGE}.")
@click.option("--offset", type=int, default=0, show_default=True, help="How many of the newest to skip.")
@click.option("--status", type=click.Choice(JOB_STATUSES), help="Only those of this status.")
@click.option("--job-type", type=click.Choice(JOB_TYPES), help="Only those of this type.")
@as_json_option
def command(limit: int, offset: int, status: JobStatus | None, job_type: JobType | None, as_json: bool) -> None:
    """List the import jobs, newest first."""
    from fm_pipeline.dicom.api.response_data import job_data, jobs_data
    from fm_pipeline.dicom.history.jobs import list_jobs

    with command_context(as_json) as context:
        page = list_jobs(context.database_url, limit=limit, offset=offset, status=status, job_type=job_type)
        if as_json:
            context.print_json(jobs_data(page, context.zone))
            return
        shown = table(
            "id", "type", "status", "created", "files", "imported", "failed", "%", right=("files", "imported", "failed")
        )
        for job in page.jobs:
            entry = job_data(job, context.zone)
            counts = (f"{entry[name]:,}" for name in ("files_processed", "files_imported", "files_failed"))
            words = (entry["id"], entry["job_type"], entry["status"], entry["created_at"])
            shown.add_row(*cells(*words, *counts, f"{entry['progress_percentage']:.0f}"))
        context.console.print(shown)
        context.print(shown_of(page.offset, len(page.jobs), page.total, "job"))
