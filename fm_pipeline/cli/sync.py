"""`fm-pipeline sync`: merge what changed in FileMaker into Nexus."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from fm_pipeline.cli._shared.program_name import program_name
from fm_pipeline.pluralize import counted, rows_changed

if TYPE_CHECKING:
    from rich.console import Console

    from fm_pipeline.nexus.sync.decisions import Decision
    from fm_pipeline.sequence.sync import SyncResult


@click.command(name="sync")
@click.option("--plan", "plan_id", help="Id of a sync that waits and that you have read.")
@click.option("--confirm", default="", help='The words that it shows: "<database> <number of patients>".')
@click.option("--undo", "undone_id", help="Undo a committed sync, unless its rows were changed since.")
@click.option("--show", "shown_id", help="Show an earlier sync, and do nothing else.")
@click.option("--requested-by", help="Who asks, for the audit trail.  [default: the user of this machine]")
def command(
    plan_id: str | None, confirm: str, undone_id: str | None, shown_id: str | None, requested_by: str | None
) -> None:
    """Merge what changed in FileMaker since the last reimport or sync into Nexus. Edits of users in Nexus stay.

    FILEMAKER_SYNC_CHANGES says how many rows may change without a confirmation. If more rows would change, or if there
    is a deletion or a conflict, the sync waits: it shows what it would do, and the words that let it go on.
    """
    from fm_pipeline.filemaker.connect import require_source
    from fm_pipeline.settings import load_settings

    settings = load_settings()
    if not (shown_id or undone_id):
        require_source(settings)

    from rich.console import Console

    from fm_pipeline.db.audit import operating_system_user
    from fm_pipeline.nexus.reimport.plan import Permission
    from fm_pipeline.sequence.progress import run_progress
    from fm_pipeline.sequence.report_terminal import report_lines
    from fm_pipeline.sequence.sync_with_emails import run_sync, run_undo
    from fm_pipeline.status.syncs import read_sync

    console = Console()
    if shown_id:
        found = read_sync(settings.nexus_database_url.get_secret_value(), shown_id)
        _print_decisions(console, found.decisions)
        console.print(*report_lines(found.report), sep="\n")
        if undone := found.undone_at or (found.undone_by and found.undone_by.at):
            by = "A person" if found.undone_at else "A restore"
            console.print(
                f"{by} has undone it at {undone.astimezone(ZoneInfo(settings.clinic_time_zone)):%Y-%m-%d %H:%M}."
            )
        return
    run_id, actor = f"command-{uuid.uuid4()}", requested_by or operating_system_user()

    def warn(sentence: str) -> None:
        console.print(sentence, style="yellow", soft_wrap=True, highlight=False)

    if undone_id:
        rows = run_undo(settings, undone_id, actor=actor, run_id=run_id, warn=warn)
        console.print(f"Undone: {counted(sum(rows.values()), 'row')} of Nexus written back.")
        return
    with run_progress(settings, run_id, console=console) as progress:
        result = run_sync(
            settings,
            actor=actor,
            run_id=run_id,
            permission=Permission(plan_id, confirm, actor) if plan_id else None,
            on_step=progress.update,
            phases=lambda: progress.phases(prefix="sync, "),
            warn=warn,
        )
    _print_decisions(console, result.decisions)
    if result.status != "nothing_new":
        console.print(*report_lines(result.report.as_dict()), sep="\n")
    _print_end(console, result)


def _print_decisions(console: Console, decisions: Sequence[Decision]) -> None:
    """Print what was decided about values and rows, the conflicts first; ids and columns only."""
    from fm_pipeline.nexus.sync.decisions import MEANINGS

    for each in sorted(decisions, key=lambda each: (not each.is_conflict, each)):
        side = "Nexus stays" if each.kept else "FileMaker is taken"
        where = each.column or "whole row"
        console.print(
            f"{each.entity} {each.nexus_id}, {where}: {each.decision}, {side}", soft_wrap=True, highlight=False
        )
    for decision in sorted({each.decision for each in decisions}):
        console.print(f"{decision}: {MEANINGS[decision]}", style="dim", soft_wrap=True, highlight=False)


def _print_end(console: Console, result: SyncResult) -> None:
    if result.status == "nothing_new":
        console.print("Nothing new. Nexus is unchanged.")
    elif result.status == "committed":
        console.print(f"Committed: {rows_changed(result.report.changed_rows)}.", soft_wrap=True)
    else:
        console.print(*result.why, sep="\n", soft_wrap=True)
        console.print("\nNexus is unchanged: the sync waits. To carry it out:\n")
        click.echo(f"{program_name()} sync --plan {result.id} --confirm {shlex.quote(result.confirmation)}")
