"""`fm-pipeline backup`: make a verified backup, list them, remove old ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from fm_pipeline.cli._shared.interrupts import at_interrupt
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from rich.console import Console

    from fm_pipeline.settings import Settings


@click.command(name="backup")
@click.option("--list", "only_list", is_flag=True, help="Show the verified backups and make none.")
@click.option("--prune", is_flag=True, help="Remove the oldest backups and make none.")
@click.option("--keep", type=click.IntRange(min=1), help="With --prune: how many of the newest stay.")
@click.option(
    "--export-csv", "only_csv", is_flag=True, help="Write the tables that a reimport replaces as CSV instead."
)
@click.option("--new-key", "only_key", is_flag=True, help="Print a new key for BACKUP_KEY and do nothing else.")
def command(only_list: bool, prune: bool, keep: int | None, only_csv: bool, only_key: bool) -> None:
    """Back up everything in Nexus that a reimport can change, and prove that it can be restored.

    It counts as a backup when it was read back from the disk, restored into copies of the tables, which have their
    constraints, and found equal.
    """
    if only_list + prune + only_csv + only_key > 1:
        raise click.UsageError("--list, --prune, --export-csv and --new-key exclude each other.")
    if prune != (keep is not None):
        raise click.UsageError("--prune and --keep go together.")

    from rich.console import Console

    if only_key:
        from fm_pipeline.nexus.backup.files import new_key

        click.echo(new_key())
        return

    from fm_pipeline.db.migrate import migrate
    from fm_pipeline.nexus.backup.backup import list_backups, make_backup
    from fm_pipeline.nexus.backup.export_csv import export_csv
    from fm_pipeline.nexus.backup.retention import prune_backups
    from fm_pipeline.sequence.progress import Progress, terminal_sink
    from fm_pipeline.settings import load_settings

    settings = load_settings()
    migrate(settings.nexus_database_url.get_secret_value())
    console = Console()
    if only_list:
        _list(console, settings)
    elif only_csv:
        folder, written = export_csv(settings, now=datetime.now(UTC))
        encrypted = "encrypted" if settings.backup_key else "NOT encrypted, because BACKUP_KEY is not set"
        console.print(f"{counted(sum(written.values()), 'row')} of {', '.join(written)}: {encrypted}.", soft_wrap=True)
        click.echo(folder)
    elif keep is not None:
        removed = prune_backups(settings, keep=keep)
        kept = [backup for backup in list_backups(settings) if backup.folder.is_dir()]
        console.print(f"Removed {counted(len(removed), 'backup')}; {len(kept)} kept.")
        if moved := sum(backup.moved for backup in kept):
            console.print(
                f"{counted(moved, 'backup')} in BACKUP_DIR came from another folder. --prune never removes these:"
                " they may be another installation's. If they are not, you can remove their folders.",
                soft_wrap=True,
            )
    else:
        with (
            at_interrupt("There is no backup of this run.", "Nexus is unchanged."),
            Progress([terminal_sink(console, ZoneInfo(settings.clinic_time_zone))]) as progress,
        ):
            backup = make_backup(settings, now=datetime.now(UTC), on_progress=progress.update)
        rows = sum(digest.rows for digest in backup.digests.values())
        console.print(
            f"{counted(rows, 'row')}, {backup.bytes:,} bytes{', encrypted' if backup.encrypted else ''}:"
            " restored into copies of the tables and found equal.",
            soft_wrap=True,
        )
        for sentence in backup.untested:
            console.print(sentence, soft_wrap=True)
        click.echo(backup.folder)


def _list(console: Console, settings: Settings) -> None:
    from fm_pipeline.nexus.backup.backup import backup_folder, list_backups
    from fm_pipeline.nexus.backup.export_csv import FOLDER as CSV_FOLDER

    zone = ZoneInfo(settings.clinic_time_zone)
    known = list_backups(settings)
    for backup in known:
        patients = backup.digests.get("patients") or backup.digests.get(f"{settings.nexus_schema}.patients")
        count = counted(patients.rows, "patient") if patients else "? patients"
        # A line of its own, and whole: `restore` asks for it.
        click.echo(backup.folder if backup.folder.is_dir() else f"{backup.folder} (gone)")
        click.echo(
            f"    {backup.created_at.astimezone(zone):%Y-%m-%d %H:%M}, {count},"
            f" {counted(sum(digest.rows for digest in backup.digests.values()), 'row')}, {backup.bytes:,} bytes,"
            f" {'encrypted' if backup.encrypted else 'not encrypted'}"
        )
    if not known:
        click.echo("There is no verified backup yet.")
    root = backup_folder(settings)
    names = {backup.folder.name for backup in known} | {CSV_FOLDER}
    others = [path for path in root.glob("*") if path.is_dir() and path.name not in names]
    if others:
        console.print(f"{counted(len(others), 'folder')} in {root} not known to this database.", soft_wrap=True)
