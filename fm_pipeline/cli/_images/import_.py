"""`fm-pipeline images import`: pictures out of FileMaker's containers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from fm_pipeline.cli._shared.interrupts import restore_sigint
from fm_pipeline.images.containers.choices import BATCH_SIZE
from fm_pipeline.images.containers.reasons import IN_USE, sentence
from fm_pipeline.images.containers.report import ImportReport
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


@click.command(name="import")
@click.option("--limit", type=click.IntRange(min=1), help="Records to process in this run.  [default: all]")
@click.option(
    "--batch-size",
    type=click.IntRange(1, 500),
    default=BATCH_SIZE,
    show_default=True,
    help="Images between two pauses for FileMaker Server, and in one transaction of Nexus.",
)
@click.option("--dry-run", is_flag=True, help="Decide about each record; download, write and mark nothing.")
def command(limit: int | None, batch_size: int, dry_run: bool) -> None:
    """Import the images whose NexusExportDate is empty, each from its best container, and mark them.

    Can be stopped at any moment, and goes on where it stopped.
    """
    from fm_pipeline.filemaker.connect import require_filemaker
    from fm_pipeline.settings import load_settings
    from fm_pipeline.storage.bucket import require_bucket

    settings = load_settings()
    require_filemaker(settings)
    require_bucket(settings)

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fm_pipeline.db.audit import audited, operating_system_user
    from fm_pipeline.db.migrate import migrate
    from fm_pipeline.db.run_reports import store_run_report
    from fm_pipeline.images.containers.import_images import Callbacks, import_images
    from fm_pipeline.sequence.progress import run_progress

    restore_sigint()
    migrate(settings.nexus_database_url.get_secret_value())
    console = Console()
    run_id = f"command-{uuid.uuid4()}"
    step = "look at images" if dry_run else "import images"
    url = settings.nexus_database_url.get_secret_value()
    audit = audited(url, actor=operating_system_user(), action="image_import", run_id=run_id)
    with nullcontext() if dry_run else audit:
        with run_progress(settings, run_id, console=console) as progress:
            callbacks = Callbacks(
                progress=lambda done, total: progress.update(step, done, total),
                on_message=lambda sentence: console.print(Text(sentence, style="yellow"), soft_wrap=True),
            )
            report = import_images(
                settings, limit=limit, batch_size=batch_size, dry_run=dry_run, run_id=run_id, callbacks=callbacks
            )
        store_run_report(url, run_id, "image_import", report.as_dict(), dry_run=dry_run)
        for line in report_lines(report):
            console.print(line, soft_wrap=not isinstance(line, Table))
        if report.stopped:
            raise report.stopped


def report_lines(report: ImportReport) -> Iterator[RenderableType]:
    """What to print, one after the other."""
    from rich.text import Text

    would = "would be " if report.dry_run else ""
    yield ""
    yield Text(
        f"{counted(report.listed, 'record')} of FileMaker had no mark; {len(report.outcomes):,} of them had a turn."
    )
    yield _table(
        ("end", "images"),
        [
            (f"{would}imported and marked", report.count("imported")),
            (f"in Nexus already, {would}marked only", report.count("already_linked")),
            ("linked, mark to follow (record in use)", report.count("in_use")),
            ("skipped", report.count("skipped")),
            ("failed", report.count("failed")),
        ],
    )
    if report.count("imported"):
        yield _containers(report)
    if report.missing:
        yield Text(f"Not on the layout: {', '.join(report.missing)}.", style="yellow")
    yield from _counted("Better containers that cannot be read, passed over", report.passed_over())
    skipped = {sentence(reason): images for reason, images in report.reasons("skipped").items()}
    yield from _counted("Skipped; a later run takes them up again", skipped)
    failed = {sentence(reason): images for reason, images in report.reasons("failed").items()}
    yield from _counted("Failed; a later run tries them again", failed)
    if report.count("in_use"):
        yield Text(f"{report.count('in_use'):,}: {IN_USE}")
    if report.dry_run:
        yield Text("Nothing was downloaded, written or marked.")
    else:
        yield Text(f"{counted(report.left, 'record')} left for later runs.")


def _containers(report: ImportReport) -> Table:
    """How many came from which container: in this run, and in all of them if there were others."""
    earlier = sum(report.all_runs.values()) > report.count("imported")
    table = _table(("container", "images", "%", *(("all runs", "%") if earlier else ())), [])
    for (name, *now), (_, *so_far) in zip(report.by_container(), report.by_container_in_all_runs(), strict=True):
        numbers = [*now, *(so_far if earlier else [])]
        table.add_row(name, *(f"{each:.1f}" if isinstance(each, float) else f"{each:,}" for each in numbers))
    return table


def _counted(title: str, counts: Mapping[str, int]) -> Iterator[RenderableType]:
    from rich.text import Text

    if counts:
        yield Text(f"{title}:", style="bold")
        for what, images in counts.items():
            yield Text(f"  {images:,}  {what}")


def _table(head: tuple[str, ...], rows: list[tuple[str, int]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for position, name in enumerate(head):
        table.add_column(name, justify="right" if position else "left")
    for what, images in rows:
        table.add_row(what, f"{images:,}")
    return table
