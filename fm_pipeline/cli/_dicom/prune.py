"""`fm-pipeline dicom prune`: delete redundant rows of history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from fm_pipeline.cli._dicom._context import as_json_option, command_context
from fm_pipeline.pluralize import counted


@click.command(name="prune")
@click.option(
    "--older-than-days",
    type=click.IntRange(1, 36_500),
    help="Age from which a row may be removed.  [default: DICOM_HISTORY_DAYS; without it nothing goes]",
)
@click.option("--yes", is_flag=True, help="Delete them; without it they are only counted.")
@as_json_option
def command(older_than_days: int | None, yes: bool, as_json: bool) -> None:
    """Delete old rows of history that a newer row makes redundant.

    Rows that are needed to recognise a file or its content always stay.
    """
    from fm_pipeline.dicom.api.requests import prune
    from fm_pipeline.settings import load_settings

    days = older_than_days or load_settings().dicom_history_days
    if days is None:
        raise click.UsageError("Nothing is ever removed by itself. Name an age: --older-than-days 365")
    with command_context(as_json) as context:
        before = datetime.now(UTC) - timedelta(days=days)
        rows = prune(context.settings, before, really=yes, actor=context.actor)
        if as_json:
            context.print_json({"rows": rows, "removed": yes, "older_than_days": days})
        elif yes:
            context.print(f"{counted(rows, 'row')} of history {'was' if rows == 1 else 'were'} removed.")
        else:
            context.print(f"{counted(rows, 'row')} of history would be removed. To remove them, add --yes.")
