"""`fm-pipeline dicom scan`: preview what an import of a directory would do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from fm_pipeline.cli._dicom._context import CommandContext, as_json_option, cells, command_context, path_argument, table
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.dicom.paths import printable
from fm_pipeline.dicom.reasons import sentence
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from fm_pipeline.dicom.api.preview import PreviewedFile, PreviewTotals

SHOWN = 20
limit_option = click.option(
    "--limit",
    type=click.IntRange(min=0),
    help=f"How many files are listed; all are counted.  [default: {SHOWN}; with --json all]",
)


@click.command(name="scan")
@path_argument
@click.option("--all", "everything", is_flag=True, help="List also what would not be imported, with its reason.")
@limit_option
@as_json_option
def command(path: str | None, everything: bool, limit: int | None, as_json: bool) -> None:
    """Inspect every file under PATH (by default the configured directory) as an import would, and import nothing."""
    from fm_pipeline.dicom.api.preview import PreviewTotals, preview
    from fm_pipeline.dicom.api.requests import audited_refusals, requested_path
    from fm_pipeline.dicom.configuration.roots import excluded_folders
    from fm_pipeline.dicom.files.archives.limits import ArchiveLimits

    with command_context(as_json) as context:
        with audited_refusals(context.settings, actor=context.actor, action="dicom_scan"):
            root = requested_path(context.settings, path)
        totals = PreviewTotals()
        found = preview(root, totals, ArchiveLimits.from_settings(context.settings), excluded_folders(context.settings))
        listed = (seen for seen in found if everything or seen.outcome is None)
        if as_json:
            entries = (seen.answer(context.zone) for seen in listed)
            context.stream_json({"path": printable(root)}, limited(entries, limit), lambda: totals_answer(totals))
        else:
            show_files(context, root, listed, SHOWN if limit is None else limit)
            show_totals(context, totals)


def limited(entries: Iterator[Any], limit: int | None) -> Iterator[Any]:
    """Yield the first entries. The others are consumed too, because they are counted."""
    yield from islice(entries, limit)
    for _ in entries:
        pass


def totals_answer(totals: PreviewTotals) -> dict[str, Any]:
    """Return the totals of a preview."""
    return {
        "total_files": totals.files,
        "total_size_bytes": totals.size,
        "total_size_formatted": size_formatted(totals.size),
        "not_imported": [
            {"outcome": outcome, "reason": reason, "files": count}
            for (outcome, reason), count in totals.by_reason.most_common()
        ],
        "directories_unreadable": totals.directories_unreadable,
        "complete": totals.complete,
    }


def show_files(context: CommandContext, root: str, listed: Iterator[PreviewedFile], limit: int) -> None:
    """Print the first files, with paths relative to the root."""
    shown = table("file", "size", "modified", "reason", right=("size",))
    more = 0
    for number, seen in enumerate(listed):
        if number >= limit:
            more += 1
            continue
        entry = seen.answer(context.zone)
        name = printable(seen.path.removeprefix(root.rstrip("/") + "/"))
        shown.add_row(*cells(name, entry["size_formatted"], entry["modified"], seen.reason or ""))
    if shown.row_count:
        context.console.print(shown)
    if more and limit:
        context.print(f"… and {more:,} more; --limit shows them.")


def show_totals(context: CommandContext, totals: PreviewTotals) -> None:
    """Print the totals, and why files would not be imported."""
    context.print(f"{counted(totals.files, 'file')} to import, {size_formatted(totals.size)}.", style="bold")
    if totals.by_reason:
        shown = table("files", "outcome", "reason", "what it is", right=("files",))
        for (outcome, reason), count in totals.by_reason.most_common():
            shown.add_row(*cells(f"{count:,}", outcome, reason, sentence(reason)))
        context.console.print(shown)
    if not totals.complete:
        context.print(
            f"{counted(totals.directories_unreadable, 'directory', 'directories')} could not be read,"
            " so this is not the total.",
            style="red",
        )
