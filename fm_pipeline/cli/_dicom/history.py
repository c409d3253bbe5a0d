"""`fm-pipeline dicom history`: show the outcome of each file."""

from __future__ import annotations

import click

from fm_pipeline.cli._dicom._context import as_json_option, command_context
from fm_pipeline.dicom.choices import LONGEST_HISTORY_PAGE
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.dicom.reasons import FLAGS
from fm_pipeline.dicom.reasons import OF_FILES as REASONS_OF_FILES
from fm_pipeline.pluralize import page as shown_of


@click.command(name="history")
@click.option("--limit", type=int, default=50, show_default=True, help=f"How many, at most {LONGEST_HISTORY_PAGE}.")
@click.option("--offset", type=int, default=0, show_default=True, help="How many of the newest to skip.")
@click.option("--job-id", type=int, help="Only those of this job.")
@click.option(
    "--status", type=click.Choice([str(outcome) for outcome in Outcome]), help="Only files with this outcome."
)
@click.option(
    "--reason",
    type=click.Choice(REASONS_OF_FILES),
    metavar="REASON",
    help="Only those with this reason, for example garbage; a wrong one shows the list.",
)
@click.option("--flag", type=click.Choice(list(FLAGS)), metavar="FLAG", help="Only those with this flag.")
@as_json_option
def command(
    limit: int,
    offset: int,
    job_id: int | None,
    status: str | None,
    reason: str | None,
    flag: str | None,
    as_json: bool,
) -> None:
    """Show the outcome of each file, newest first. The output contains paths and Patient IDs: keep it confidential."""
    from fm_pipeline.dicom.api.response_data import history_data
    from fm_pipeline.dicom.history.history import list_history
    from fm_pipeline.dicom.history.jobs import get_job

    with command_context(as_json) as context:
        if job_id is not None:
            get_job(context.database_url, job_id)  # an unknown job is an error, not an empty list
        found = list_history(
            context.database_url, limit=limit, offset=offset, job_id=job_id, status=status, reason=reason, flag=flag
        )
        answer = history_data(found, context.zone)
        if as_json:
            context.print_json(answer)
            return
        for row in answer["history"]:
            end = f"{row['status']}: {row['reason']}" if row["reason"] else row["status"]
            size = row["file_size_formatted"] or "-"
            flags = "".join(f"  {flag}" for flag in row["flags"])
            context.print(f"{row['id']}  job {row['job_id']}  {row['imported_at']}  {size}  {end}{flags}")
            context.print(f"    {_below(row['file_path'], row['job_source_path'])}")
        statistics = answer["statistics"]
        counts = ", ".join(f"{count:,} {name}" for name, count in statistics["outcomes"].items() if count)
        context.print(shown_of(found.offset, len(found.history), found.total, "row"))
        context.print(f"Of {'this job' if job_id else 'all jobs'}: {counts or 'nothing yet'}.")


def _below(path: str, root: str) -> str:
    """Return the path relative to the job's directory."""
    return path.removeprefix(root.rstrip("/") + "/")
