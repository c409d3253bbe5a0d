"""`fm-pipeline dicom new`: which files are not imported yet."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from fm_pipeline.cli._dicom._answer import as_json_option, called, path_argument
from fm_pipeline.cli._dicom.scan import SHOWN, limit_option, limited, show_files, show_totals, totals_answer
from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.api.calls import asked_path, refusals
from fm_pipeline.dicom.api.looking import Totals, look_for_new
from fm_pipeline.dicom.configuration.roots import excluded_folders
from fm_pipeline.dicom.files.archives.limits import Limits
from fm_pipeline.dicom.paths import printable
from fm_pipeline.dicom.watch.new_files import NewFiles
from fm_pipeline.pluralize import counted


@click.command(name="new")
@path_argument
@click.option("--all", "everything", is_flag=True, help="List also what is new and would not be imported.")
@limit_option
@as_json_option
def command(path: str | None, everything: bool, limit: int | None, as_json: bool) -> None:
    """Show which files under PATH (by default the configured directory) history does not have as they are now."""
    with called(as_json) as call:
        with refusals(call.settings, actor=call.actor, action="dicom_scan"):
            root = asked_path(call.settings, path)
        totals, excluded = Totals(), excluded_folders(call.settings)
        limits = Limits.from_settings(call.settings)
        with ReconnectingConnection(call.database_url) as database:
            found = look_for_new(
                NewFiles(database, root, now=datetime.now(UTC), excluded=excluded), totals, limits, excluded
            )
            listed = (seen for seen in found if everything or seen.outcome is None)
            if as_json:
                entries = (seen.answer(call.zone) for seen in listed)
                call.stream({"path": printable(root)}, "file_list", limited(entries, limit), lambda: _answer(totals))
            else:
                show_files(call, root, listed, SHOWN if limit is None else limit)
                call.say(f"{counted(totals.known, 'file')} known already and unchanged.")
                show_totals(call, totals)


def _answer(totals: Totals) -> dict[str, object]:
    """Call 10: its `total_files` are all, its sizes those of the new ones."""
    return {
        **totals_answer(totals),
        "total_files": totals.files + totals.known,
        "new_files": totals.files,
        "already_imported": totals.known,
    }
