"""`fm-pipeline dicom new`: list the files that are not imported yet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fm_pipeline.cli._dicom._context import as_json_option, command_context, path_argument
from fm_pipeline.cli._dicom.scan import SHOWN, limit_option, limited, show_files, show_totals, totals_answer
from fm_pipeline.dicom.paths import printable
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from fm_pipeline.dicom.api.preview import PreviewTotals


@click.command(name="new")
@path_argument
@click.option("--all", "everything", is_flag=True, help="List also what is new and would not be imported.")
@limit_option
@as_json_option
def command(path: str | None, everything: bool, limit: int | None, as_json: bool) -> None:
    """List the files under PATH (by default the configured directory) that are new or changed since their import."""
    from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
    from fm_pipeline.dicom.api.preview import PreviewTotals, preview_new
    from fm_pipeline.dicom.api.requests import audited_refusals, requested_path
    from fm_pipeline.dicom.configuration.roots import excluded_folders
    from fm_pipeline.dicom.files.archives.limits import ArchiveLimits
    from fm_pipeline.dicom.watch.new_files import NewFiles

    with command_context(as_json) as context:
        with audited_refusals(context.settings, actor=context.actor, action="dicom_scan"):
            root = requested_path(context.settings, path)
        totals, excluded = PreviewTotals(), excluded_folders(context.settings)
        limits = ArchiveLimits.from_settings(context.settings)
        with ReconnectingConnection(context.database_url) as database:
            found = preview_new(
                NewFiles(database, root, now=datetime.now(UTC), excluded=excluded), totals, limits, excluded
            )
            listed = (seen for seen in found if everything or seen.outcome is None)
            if as_json:
                entries = (seen.answer(context.zone) for seen in listed)
                context.stream_json({"path": printable(root)}, limited(entries, limit), lambda: _answer(totals))
            else:
                show_files(context, root, listed, SHOWN if limit is None else limit)
                context.print(f"{counted(totals.known, 'file')} known already and unchanged.")
                show_totals(context, totals)


def _answer(totals: PreviewTotals) -> dict[str, object]:
    """Return the totals. `total_files` counts all files; the sizes are those of the new ones."""
    return {
        **totals_answer(totals),
        "total_files": totals.files + totals.known,
        "new_files": totals.files,
        "already_imported": totals.known,
    }
