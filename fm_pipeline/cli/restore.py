"""`fm-pipeline restore`: bring a backup back."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich import box
from rich.console import Console
from rich.table import Table

from fm_pipeline.db.migrate import migrate
from fm_pipeline.nexus.backup.restore import RestoreReport, restore
from fm_pipeline.nexus.backup.restore_newer import NewerRowsPolicy
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import Progress, terminal_sink
from fm_pipeline.settings import load_settings


@click.command(name="restore")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--confirm", default="", help='"<database> <number of patients in the backup>", as a dry run shows it.')
@click.option("--dry-run", is_flag=True, help="Do everything, show it, and roll it back.")
@click.option(
    "--newer",
    type=click.Choice(["stop", "set-aside"]),
    default="stop",
    show_default=True,
    help="What becomes of rows that were made since the backup and cannot stay: nothing, and the restore stops; or they"
    " are moved into the table fm_pipeline.set_aside_rows.",
)
def command(folder: Path, confirm: str, dry_run: bool, newer: NewerRowsPolicy) -> None:
    """Bring back every row of the backup in FOLDER, in one transaction.

    Patients and what else a reimport loads become exactly what they were. In other tables changed and lost rows come
    back, and rows that users made since stay. A row that points to a patient who goes is led to the row of the same
    FileMaker record, or loses the reference; each is listed by its id. If anything does not fit, Nexus stays as it is.
    """
    if dry_run == bool(confirm):
        raise click.UsageError("Give either --dry-run or --confirm.")
    settings = load_settings()
    migrate(settings.nexus_database_url.get_secret_value())
    console = Console()
    with Progress([terminal_sink(console, ZoneInfo(settings.clinic_time_zone))]) as progress:
        report = restore(settings, folder, confirm=confirm, dry_run=dry_run, newer=newer, on_progress=progress.update)
    show(console, report)
    if dry_run:
        console.print(f"\nNexus is unchanged. {counted(report.changed_rows, 'row')} would change. To carry it out:\n")
        option = "" if newer == "stop" else f" --newer {newer}"
        click.echo(f'fm-pipeline restore {folder}{option} --confirm "{report.confirmation}"')
    else:
        console.print(
            f"Committed. {counted(report.changed_rows, 'row')} of Nexus changed in {report.seconds:.1f} seconds."
        )


def show(console: Console, report: RestoreReport) -> None:
    """Print what became of each table that was not as in the backup, and the notes."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column("table", overflow="fold")
    for head in ("backup", "deleted", "changed", "back", "newer", "emptied"):
        table.add_column(head, justify="right", no_wrap=True)
    for restored in report.tables:
        counts = (restored.deleted, restored.updated, restored.inserted, restored.newer, restored.emptied)
        if any(counts):
            table.add_row(restored.table, f"{restored.backup:,}", *(f"{rows:,}" for rows in counts))
    if table.row_count and not report.committed:
        console.print("Rows that a restore would delete, change or bring back:")
    console.print(table if table.row_count else "Every row is as in the backup.")
    for note in [rows.sentence() for rows in report.newer] + report.notes:
        console.print(note, soft_wrap=True)
