"""`fm-pipeline images link`: the images of the bulk dump become images of patients."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fm_pipeline.cli._images._export_options import EXISTING, columns_option, encoding_option, ignore_file_names_option
from fm_pipeline.cli._shared.interrupts import at_interrupt
from fm_pipeline.filemaker.exports.encoding import Encoding

if TYPE_CHECKING:
    from fm_pipeline.images.exports.metadata_table import Dates


@click.command(name="link")
@click.argument("export", type=EXISTING)
@click.option("--dry-run", is_flag=True, help="Show what would be linked; copy nothing and write nothing to Nexus.")
@click.option("--limit", type=click.IntRange(min=1), help="Link at most this many images that are not linked yet.")
@click.option(
    "--dates",
    type=click.Choice(["proved", "mdy", "dmy"]),
    default="proved",
    show_default=True,
    help="Order of the dates: month first, day first, or as one of them proves it.",
)
@click.option("--restore-removed", is_flag=True, help="Link again what was linked and then removed in Nexus.")
@encoding_option
@columns_option
@ignore_file_names_option
@click.pass_context
def command(
    ctx: click.Context,
    export: Path,
    dry_run: bool,
    limit: int | None,
    dates: Dates,
    restore_removed: bool,
    encoding: Encoding | None,
    columns: str | None,
    ignore_file_names: bool,
) -> None:
    """Link the images of the bulk dump to their patients: copy, verify, then write to Nexus.

    EXPORT is FileMaker's export of the images, or the CSV that `convert` made of it. Safe to run again: what is
    linked is recognised, and what was interrupted goes on.
    """
    from fm_pipeline.settings import load_settings
    from fm_pipeline.storage.bucket import open_bucket

    settings = load_settings()
    bucket = open_bucket(settings)

    from rich.console import Console

    from fm_pipeline.db.audit import operating_system_user
    from fm_pipeline.db.migrate import migrate
    from fm_pipeline.db.run_reports import store_run_report
    from fm_pipeline.images.exports.reader import read_export
    from fm_pipeline.images.linking.link_images import link_images
    from fm_pipeline.images.linking.steps import LinkOptions
    from fm_pipeline.sequence.progress import run_progress

    console = Console(highlight=False, soft_wrap=True)
    run_id = f"command-{uuid.uuid4()}"
    read = read_export(
        export,
        encoding=encoding,
        columns=columns.split(",") if columns else None,
        ignore_file_names=ignore_file_names,
    )
    migrate(settings.nexus_database_url.get_secret_value())
    warnings: list[str] = []
    with (
        at_interrupt("What was linked stays.", "Run it again: it goes on."),
        run_progress(settings, run_id, console=console) as progress,
    ):
        report = link_images(
            settings,
            bucket,
            read,
            LinkOptions(dry_run, limit, restore_removed),
            actor=operating_system_user(),
            now=lambda: datetime.now(UTC),
            run_id=run_id,
            dates=dates,
            on_progress=lambda step, done, total, errors: progress.update(step, done, total, errors=errors),
            warn=warnings.append,
        )
    if dry_run:  # else its transaction has stored it
        url = settings.nexus_database_url.get_secret_value()
        store_run_report(url, run_id, "image_link", asdict(report), dry_run=True)
    for line in report.lines():
        console.print(line, markup=False)
    for warning in warnings:
        console.print(warning, style="yellow", markup=False)
    if not warnings:
        console.print(f"Lists of what is not linked, with reasons: {settings.state_dir / 'images'}", markup=False)
    if dry_run:
        console.print("\nNothing was copied, and Nexus is unchanged. Without --dry-run it is carried out.")
    ctx.exit(1 if report.bulk_changed or not report.adds_up else 0)
