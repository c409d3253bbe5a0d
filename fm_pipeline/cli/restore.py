"""`fm-pipeline restore`: bring a backup back, or try it on another server."""

from __future__ import annotations

import shlex
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from fm_pipeline.cli._shared.program_name import program_name

if TYPE_CHECKING:
    from rich.console import Console

    from fm_pipeline.nexus.backup.restore import RestoreReport
    from fm_pipeline.nexus.backup.restore_state import NewerRowsPolicy


@click.command(name="restore")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--confirm", default="", help='"<database> <number of patients in the backup>", as a dry run shows it.')
@click.option("--dry-run", is_flag=True, help="Do everything, show it, and roll it back.")
@click.option(
    "--newer",
    type=click.Choice(["stop", "set-aside"]),
    default="stop",
    show_default=True,
    help="What happens to rows that were created since the backup and cannot stay: the restore stops, or they"
    " are moved into the table fm_pipeline.set_aside_rows.",
)
@click.option(
    "--drill",
    "drill_url",
    metavar="URL",
    help="Try the newest backup (or FOLDER) in this empty database, roll it back, and email the result.",
)
def command(folder: Path | None, confirm: str, dry_run: bool, newer: NewerRowsPolicy, drill_url: str | None) -> None:
    """Bring back every row of the backup in FOLDER, in one transaction.

    Patients and everything else that a reimport loads become exactly what they were. In other tables changed and lost
    rows come back, and rows created since then stay. If such a row points to a patient who is removed, it is pointed to
    the row of the same FileMaker record, or its reference is set to NULL; each is listed by its id. If anything does
    not fit, Nexus stays as it is.
    """
    if drill_url is not None:
        if dry_run or confirm:
            raise click.UsageError("--drill goes with neither --dry-run nor --confirm: it is always rolled back.")
        _drill(drill_url, folder)
        return
    if folder is None:
        raise click.UsageError("Missing argument 'FOLDER'; fm-pipeline backup --list shows the backups.")
    if dry_run == bool(confirm):
        raise click.UsageError("Give either --dry-run or --confirm.")

    from rich.console import Console

    from fm_pipeline.db.migrate import migrate
    from fm_pipeline.nexus.backup.restore import restore
    from fm_pipeline.sequence.progress import Progress, terminal_sink
    from fm_pipeline.settings import load_settings

    settings = load_settings()
    url = settings.nexus_database_url.get_secret_value()
    migrate(url)
    console = Console()
    run_id = f"command-{uuid.uuid4()}"
    with Progress([terminal_sink(console, ZoneInfo(settings.clinic_time_zone))]) as progress:
        report = restore(
            settings, folder, confirm=confirm, dry_run=dry_run, newer=newer, run_id=run_id, on_progress=progress.update
        )
    show(console, report)
    changed = report.changed_words()
    changed = f"{changed[:1].upper()}{changed[1:]}"
    if dry_run:
        console.print(f"\nNexus is unchanged. {changed} would change. To carry it out:\n")
        option = "" if newer == "stop" else f" --newer {newer}"
        confirm = f"--confirm {shlex.quote(report.confirmation)}"
        click.echo(f"{program_name()} restore {shlex.quote(str(folder))}{option} {confirm}")
    else:
        console.print(f"Committed. {changed} changed in {report.seconds:.1f} seconds.")


def _drill(url: str, folder: Path | None) -> None:
    from rich.console import Console

    from fm_pipeline.db.audit import operating_system_user
    from fm_pipeline.db.migrate import migrate
    from fm_pipeline.sequence.progress import Progress, terminal_sink
    from fm_pipeline.sequence.restore_drill import run_restore_drill
    from fm_pipeline.settings import load_settings

    settings = load_settings()
    migrate(settings.nexus_database_url.get_secret_value())
    console = Console()
    with Progress([terminal_sink(console, ZoneInfo(settings.clinic_time_zone))]) as progress:
        report = run_restore_drill(
            settings,
            url,
            folder,
            actor=operating_system_user(),
            now=datetime.now(UTC),
            warn=lambda sentence: console.print(sentence, style="yellow", soft_wrap=True, highlight=False),
            on_progress=progress.update,
        )
    for sentence in (report.sentence(), *report.notes):
        console.print(sentence, soft_wrap=True)


def show(console: Console, report: RestoreReport) -> None:
    """Print what became of each table that was not as in the backup, and the notes."""
    from rich import box
    from rich.table import Table

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
