"""`fm-pipeline images convert`: FileMaker's export of image records as a CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fm_pipeline.cli._images._export_options import EXISTING, columns_option, encoding_option, ignore_file_names_option
from fm_pipeline.filemaker.exports.encoding import Encoding
from fm_pipeline.pluralize import counted
from fm_pipeline.staging.values.keys import as_key, is_uuid

if TYPE_CHECKING:
    from rich.console import Console

    from fm_pipeline.images.exports.reader import Export

RULE = "=" * 70
SAMPLES = 2
SHOWN_REJECTS = 20


@click.command(name="convert")
@click.argument("export", type=EXISTING)
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@encoding_option
@columns_option
@ignore_file_names_option
def command(export: Path, out: Path, encoding: Encoding | None, columns: str | None, ignore_file_names: bool) -> None:
    """Convert FileMaker's export of images to the CSV recid,id_Contact,date,Type,Note.

    EXPORT is a .tab, .csv, .mer, .xlsx or .xml file; OUT is written anew. No server is asked and no setting is needed.
    """
    if out.exists() and out.samefile(export):
        raise click.UsageError("OUT is the export itself, which would be overwritten.")

    from rich.console import Console

    from fm_pipeline.images.exports.reader import read_export, write_csv

    console = Console(highlight=False, soft_wrap=True)
    kind = f"{export.suffix.lstrip('.').capitalize()} " if export.suffix else ""
    console.print(f"{RULE}\n🔄 Converting FileMaker {kind}Export to CSV\n{RULE}")
    console.print(f"Input: {export}\nOutput: {out}\n", markup=False)
    read = read_export(
        export,
        encoding=encoding,
        columns=columns.split(",") if columns else None,
        ignore_file_names=ignore_file_names,
    )
    write_csv(out, read)
    console.print(f"✅ Found {counted(read.found, 'record')}", markup=False)
    _say_what_was_noticed(console, read)
    console.print(f"\n{RULE}\n✅ CONVERSION COMPLETE!\n{RULE}\n\n📊 Sample records:")
    for number, record in zip(range(1, SAMPLES + 1), read, strict=False):
        patient = f"{record.patient[:8]}..." if is_uuid(as_key(record.patient)) else "not an id"
        console.print(
            f"   {number}. recid={record.recid}, patient={patient}, date={record.date}, type={record.category}",
            markup=False,
        )
    if len(read) > SAMPLES:
        console.print("   ...")
    console.print(f"\n📝 Next step:\n   fm-pipeline images link {out} --dry-run", markup=False)


def _say_what_was_noticed(console: Console, read: Export) -> None:
    """Encoding, and every record that is not in the CSV with its number and reason."""
    console.print(f"   read as {read.format}, {read.encoding}", markup=False)
    if read.repeated:
        console.print(f"   {read.repeated} of them repeat another one and are in the CSV once", markup=False)
    if read.additional:
        console.print(f"   {read.additional} more lines only hold related rows of the record before them", markup=False)
    for finding, number in read.findings.items():
        console.print(f"   {number} with {finding}", markup=False)
    for reason, number in sorted(read.rejects_by_reason.items()):
        lines = [str(reject.line) for reject in read.rejects if reject.reason == reason]
        more = f" and {number - SHOWN_REJECTS} more" if number > SHOWN_REJECTS else ""
        console.print(f"⚠️  {number} rejected, {reason}: record {', '.join(lines[:SHOWN_REJECTS])}{more}", markup=False)
