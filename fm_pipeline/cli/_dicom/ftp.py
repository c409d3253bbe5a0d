"""`fm-pipeline dicom ftp`: pull new files from the configured FTP server into the watched directory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from fm_pipeline.cli._dicom._context import as_json_option, cells, command_context, table
from fm_pipeline.cli._shared.interrupts import at_interrupt, restore_sigint
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from rich.progress import Progress

    from fm_pipeline.dicom.ftp.pull_report import PullReport


@click.command(name="ftp")
@as_json_option
def command(as_json: bool) -> None:
    """Pull new files from the FTP server into the watched directory. Off until `dicom configure --ftp-enabled`.

    Nothing is deleted on the server. An interrupted pull resumes when it is started again. The exit code is 1 if a file
    on the server should have been pulled and was not.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from fm_pipeline.dicom.ftp.configured_pull import pull

    with command_context(as_json) as context:
        restore_sigint()
        bars = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True)
        )
        with at_interrupt("What was pulled stays.", "The next pull continues where this one ended."), bars:
            report = pull(context.settings, actor=context.actor, on_progress=_shown_in(bars))
        if as_json:
            skipped = dict(report.skipped)
            context.print_json({**vars(report), "skipped": skipped, "complete": report.complete})
            sys.exit(1 if report.missing else 0)
        context.print(
            f"{counted(report.pulled, 'file')} pulled ({size_formatted(report.bytes)}), {report.known:,} known,"
            f" {sum(report.skipped.values()):,} skipped, of {report.listed:,} on the server."
        )
        if report.skipped:
            shown = table("names", "skipped because of", right=("names",))
            for reason, count in report.skipped.most_common():
                shown.add_row(*cells(f"{count:,}", reason))
            context.console.print(shown)
        if report.unlisted_folders:
            context.print(f"{counted(report.unlisted_folders, 'folder')} of the server could not be listed.", "red")
        if report.folders_without_dot_files:
            folders = counted(report.folders_without_dot_files, "folder")
            context.print(
                f"In {folders} names that begin with a dot may be missing: the server does not list them.", "yellow"
            )
        if report.kept:
            context.print(
                f"{counted(report.kept, 'earlier file')} kept here under another name: a later file took the name, and"
                " not all of the earlier one is in Orthanc. docs/dicom.md says when such a file may be removed.",
                "yellow",
            )
        if report.known_by_size:
            context.print(
                f"{counted(report.known_by_size, 'file')} known by the size alone: the server tells no times. Another"
                " file of the same name and size is not noticed.",
                "yellow",
            )
        if report.missing:
            context.print("Not everything on the server is here; docs/dicom.md says what each reason means.", "red")
            sys.exit(1)


def _shown_in(bars: Progress) -> Callable[[PullReport], None]:
    task = bars.add_task("Pulling …")

    def show(report: PullReport) -> None:
        looked = report.pulled + report.known
        bars.update(task, description=f"{looked:,} of {report.listed:,} files, {size_formatted(report.bytes)}")

    return show
