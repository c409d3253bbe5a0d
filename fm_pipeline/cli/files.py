"""`fm-pipeline files`: whether the files named in Nexus' rows exist."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from fm_pipeline.cli._shared.json_output import json_option
from fm_pipeline.pluralize import counted
from fm_pipeline.status.choices import SAMPLE

if TYPE_CHECKING:
    from rich.console import Console

    from fm_pipeline.status.stored_files import FileCheck

SHOWN = 10  # ids of a kind; --json has all of them


@click.group(name="files")
def command() -> None:
    """Files of documents and images in S3."""


@command.command(name="check")
@click.option("--all", "everything", is_flag=True, help="Look for every file, by listing the buckets.")
@click.option("--sample", type=click.IntRange(min=1), help=f"How many of each kind.  [default: {SAMPLE}]")
@json_option("Print JSON instead of a table, with the ids of all rows.")
def check(everything: bool, sample: int | None, as_json: bool) -> None:
    """Look whether the files of documents, images and thumbnails exist; by default of a sample.

    Some of those that are there are opened. Reads only. Exits with 1 when a file is missing, cannot be opened or does
    not have the size that its row says, a row names none, or a bucket could not be read.
    """
    if everything and sample:
        raise click.UsageError("--all and --sample exclude each other.")

    from rich.console import Console

    from fm_pipeline.sequence.progress import Progress, terminal_sink
    from fm_pipeline.settings import load_settings
    from fm_pipeline.status.stored_files import check_files

    console = Console(stderr=as_json)
    settings = load_settings()
    with Progress([terminal_sink(console, ZoneInfo(settings.clinic_time_zone))]) as progress:
        checks = check_files(settings, sample=None if everything else sample or SAMPLE, on_progress=progress.update)
        looked_at = sum(found.looked_at for found in checks)
        progress.end(f"Looked at {counted(looked_at, 'file')}", errors=sum(map(_unread, checks)))
    if as_json:
        click.echo(json.dumps([found.as_dict() for found in checks], indent=2))
    else:
        _print(console, checks)
    sys.exit(0 if all(found.passed for found in checks) else 1)


@command.command(name="without-patient")
@json_option("Print JSON instead of a list.")
def without_patient(as_json: bool) -> None:
    """List the documents and image batches whose patient the next reimport would delete.

    By what was read from FileMaker last (fm-pipeline check --full reads it again). Reads only.
    """
    from fm_pipeline.db.connection import connect
    from fm_pipeline.nexus.reimport.files_of_gone_patients import NOT_IN_FILEMAKER, list_files_without_patient
    from fm_pipeline.settings import load_settings

    settings = load_settings()
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        left = list_files_without_patient(cursor, settings)
    if as_json:
        click.echo(json.dumps([file.as_dict() for file in left], indent=2))
        return
    for (patient_id, filemaker_id, reason), files in groupby(
        sorted(left, key=lambda file: (file.patient_id, file.table)),
        key=lambda file: (file.patient_id, file.filemaker_id, file.reason),
    ):
        why = "FileMaker has no such patient" if reason == NOT_IN_FILEMAKER else f"the rule {reason} keeps them out"
        known = f", FileMaker id {filemaker_id}" if filemaker_id else ""
        click.echo(f"Patient {patient_id}{known}: {why}")
        for file in files:
            click.echo(f"  {file.table} {file.id}")
    click.echo(f"{counted(len(left), 'document or batch', 'documents and batches')} would be left without a patient.")


def _print(console: Console, checks: list[FileCheck]) -> None:
    from rich.table import Table
    from rich.text import Text

    from fm_pipeline.status.stored_files import NO_READ_PERMISSION

    table = Table(
        *("", "files", "rows", "looked at", "missing", "no key", "not looked at", "opened", "faulty"), show_edge=False
    )
    for column in table.columns[2:]:
        column.justify = "right"
    for found in checks:
        mark = Text("✓", style="green") if found.passed else Text("✗", style="bold red")
        numbers = [found.rows, found.looked_at, len(found.missing), len(found.without_key), _unread(found)]
        numbers += [found.opened, len(found.unreadable) + len(found.differing)]
        table.add_row(mark, found.kind, *(f"{number:,}" for number in numbers))
    console.print(table)
    for found in checks:
        for ids, sentence in (
            (found.missing, "do not exist"),
            (found.without_key, "are named by no key"),
            (list(found.unreadable), f"cannot be opened ({', '.join(sorted(set(found.unreadable.values())))})"),
            (found.differing, "are empty or do not have the size that their row says"),
        ):
            if ids:
                more = f" and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else ""
                console.print(f"Files of these {found.kind} {sentence}: {', '.join(ids[:SHOWN])}{more}", soft_wrap=True)
        if found.not_opened:
            console.print(f"No {found.kind} could be opened ({found.not_opened}): {NO_READ_PERMISSION}", soft_wrap=True)
        for code, files in found.not_looked_at.items():
            console.print(f"{files:,} {found.kind} could not be looked at ({code}).", soft_wrap=True)
    for remedy in dict.fromkeys(remedy for found in checks for remedy in found.remedies.values()):
        console.print(Text(remedy), soft_wrap=True)


def _unread(found: FileCheck) -> int:
    return sum(found.not_looked_at.values())
