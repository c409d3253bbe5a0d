"""`fm-pipeline images reconcile`: where marks, rows and files disagree."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from fm_pipeline.cli._shared.interrupts import restore_sigint
from fm_pipeline.images.containers.choices import DISAGREEMENTS, REPAIRED_BY, REPAIRS
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fm_pipeline.images.containers.reconcile import Reconciliation

SHOWN = 20  # record ids of a kind, unless all are asked for


@click.command(name="reconcile")
@click.option(
    "--repair",
    type=click.Choice(list(REPAIRS)),
    multiple=True,
    help="Repair what is of this kind; can be repeated. Without it nothing is changed.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most this many repairs.  [default: all]")
@click.option("--all-ids", is_flag=True, help="Print every record id, and not only the first twenty of a kind.")
def command(repair: tuple[str, ...], limit: int | None, all_ids: bool) -> None:
    """List the image records whose mark in FileMaker, row in Nexus and file in S3 disagree.

    Repairs only what --repair names.
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

    from fm_pipeline.db.migrate import migrate
    from fm_pipeline.images.containers.reconcile import reconcile
    from fm_pipeline.sequence.progress import run_progress

    restore_sigint()
    migrate(settings.nexus_database_url.get_secret_value())
    console = Console()
    with run_progress(settings, f"command-{uuid.uuid4()}", console=console) as progress:
        found = reconcile(
            settings,
            repair=[kind for kind in REPAIRS if kind in repair],
            limit=limit,
            on_progress=progress.update,
            on_message=lambda sentence: console.print(Text(sentence, style="yellow"), soft_wrap=True),
        )
    for line in _lines(found, repaired=bool(repair), all_ids=all_ids):
        console.print(line, soft_wrap=not isinstance(line, Table))
    if found.stopped:
        raise found.stopped


def _lines(found: Reconciliation, *, repaired: bool, all_ids: bool) -> Iterator[RenderableType]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    yield ""
    yield Text(f"{counted(found.records, 'image record')} of FileMaker looked at.")
    if not found.found:
        yield Text("Every mark has its row and file, and every imported image its mark.")
        return
    table = Table(box=box.SIMPLE)
    for name in ("kind", "images", *(["repaired"] if repaired else [])):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for kind in DISAGREEMENTS:
        if kind in found.found:
            done = [f"{len(found.repaired.get(kind, [])):,}"] if repaired else []
            table.add_row(kind, f"{len(found.found[kind]):,}", *done)
    yield table
    for kind, meaning in DISAGREEMENTS.items():
        if kind in found.found:
            ids = found.found[kind]
            shown = ids if all_ids else ids[:SHOWN]
            more = f" and {len(ids) - len(shown):,} more" if len(shown) < len(ids) else ""
            yield Text(kind, style="bold")
            yield Text(f"  {meaning}")
            yield Text(f"  Repair: {REPAIRS.get(kind) or REPAIRED_BY}.")
            yield Text(f"  Record ids: {', '.join(map(str, shown))}{more}")
    for record_id, why in found.not_repaired.items():
        yield Text(f"Record {record_id} was not repaired: {why}", style="yellow")
    if not repaired:
        yield Text("Nothing was changed. To repair a kind, name it with --repair.")
