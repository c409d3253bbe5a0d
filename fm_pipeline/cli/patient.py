"""`fm-pipeline patient`: what Nexus holds about one patient, by counts and ids; and the erasure of one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fm_pipeline.cli._shared.json_output import json_option
from fm_pipeline.cli._shared.program_name import program_name
from fm_pipeline.pluralize import counted

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor
    from rich.table import Table
    from rich.text import Text

    from fm_pipeline.dicom.history.erased_ids import ErasedId
    from fm_pipeline.settings import Settings
    from fm_pipeline.status.patient import Existence, PatientData

SHOWN = 5  # ids of a table; --json has all of them
# What an erasure cannot reach.
LEFT = (
    "Backups, your own dumps, CSV files and the lists in STATE_DIR/images may still hold data of the patient.",
    "So may histories in Nexus (django-simple-history, django-reversion, audit logs): remove the patient's rows there.",
    "So may S3, Orthanc and the hospital's directory or FTP server: remove the files there.",
    "The audit trail, plans and reports keep ids, which lead to nobody any more.",
)
WITHOUT_PATIENT_ID = (
    "The history of DICOM imports knows patients by the Patient IDs of the files: name them with --dicom-patient-id."
)
# A mistyped Patient ID may be another person's. Numbers and months show that without naming anybody.
WHOSE_FILES = "The Patient ID {} has {} of {} in the history{}. If that is not this patient, it is mistyped."
KEEP_OUT = "To keep new files with these Patient IDs out of incremental imports all the same:"
SEVERAL_PERSONS = (
    "The Patient ID {} was met with {} combinations of name and birth date. If another person has it too, the paths of"
    " that person's files are erased as well, and that person's new files are kept out. docs/operations.md says how to"
    " let them in."
)
UNKNOWN_ID = (
    "No import has met the Patient ID {}: is it mistyped? New files with it are not kept out. If one comes, erase the"
    " patient again."
)


@click.command(name="patient")
@click.argument("patient_id", metavar="FILEMAKER_OR_NEXUS_ID")
@json_option("Print JSON, with the ids of all rows.")
@click.option("--erase", is_flag=True, help="Show what the pipeline's own tables hold of a patient who was deleted.")
@click.option(
    "--dicom-patient-id",
    "dicom_ids",
    metavar="ID",
    multiple=True,
    help="With --erase: a Patient ID that the hospital's files have for this patient; can be repeated.",
)
@click.option("--confirm", default="", help='With --erase: "<database> <number of rows>", to remove it.')
def command(patient_id: str, as_json: bool, erase: bool, dicom_ids: tuple[str, ...], confirm: str) -> None:
    """Show what Nexus holds about a patient: rows by table, documents, batches, images, and whether their files exist.

    Counts and ids only, no name. The id may be FileMaker's or Nexus', also one that an earlier reimport gave.
    """
    if ((confirm or dicom_ids) and not erase) or (erase and as_json):
        raise click.UsageError("--confirm and --dicom-patient-id go with --erase, and --json without it.")

    from rich.console import Console

    from fm_pipeline.settings import load_settings
    from fm_pipeline.status.patient import read_patient_data

    if erase:
        _erase(load_settings(), patient_id, dicom_ids, confirm)
        return
    holdings = read_patient_data(load_settings(), patient_id)
    if as_json:
        click.echo(json.dumps(holdings.as_dict(), indent=2))
        return
    console = Console(highlight=False)
    console.print(
        f"Patient in Nexus      {holdings.nexus_id}", f"Patient in FileMaker  {holdings.filemaker_id}", sep="\n"
    )
    console.print(f"Found by              {holdings.found_by}")
    console.print("", _rows(holdings), sep="\n")
    if holdings.documents:
        console.print("", _documents(holdings), sep="\n")
    if holdings.batches:
        console.print("", _batches(holdings), sep="\n")


def _erase(settings: Settings, patient_id: str, dicom_ids: Sequence[str], confirm: str) -> None:
    from rich.console import Console

    from fm_pipeline.dicom.configuration.roots import allowed_roots
    from fm_pipeline.dicom.history.erase_patient import erase_patient_files
    from fm_pipeline.dicom.history.erased_ids import known_ids, spellings
    from fm_pipeline.nexus.erase_patient import erase_patient

    for each in dicom_ids:
        spellings(each)  # an empty one is refused before anything is done
    roots = [str(root) for root in allowed_roots(settings)]
    met: list[ErasedId] = []

    def in_history(cursor: Cursor) -> dict[str, int]:
        met.extend(known_ids(cursor, dicom_ids))
        return erase_patient_files(cursor, dicom_ids, roots)

    erasure = erase_patient(settings, patient_id, confirm=confirm, elsewhere=in_history)
    table = _table("rows of", "")
    for name, rows in sorted(erasure.rows.items()):
        table.add_row(f"fm_pipeline.{name}", f"{rows:,}")
    total = counted(sum(erasure.rows.values()), "row")
    console = Console(highlight=False)
    if erasure.rows:
        console.print(table, "")
    if confirm:
        console.print(f"Removed {total}.")
    elif not erasure.rows:
        console.print("The pipeline's own tables hold nothing of this patient.")
    for sentence in LEFT if dicom_ids else [*LEFT, WITHOUT_PATIENT_ID]:
        console.print(sentence, soft_wrap=True)
    kept_out = [each.given for each in met if each.is_known]
    for sentence in _about_dicom(met, confirmed=bool(confirm)):
        console.print(sentence, soft_wrap=True, markup=False)
    if (erasure.rows or kept_out) and not confirm:
        what = f"Nothing was removed. To remove {total}:" if erasure.rows else KEEP_OUT
        console.print("", what, "", sep="\n")
        given = "".join(f" --dicom-patient-id {shlex.quote(each)}" for each in dicom_ids)
        given += f" --confirm {shlex.quote(erasure.confirmation)}"
        click.echo(f"{program_name()} patient {shlex.quote(patient_id)} --erase{given}")


def _about_dicom(met: Sequence[ErasedId], *, confirmed: bool) -> list[str]:
    """Return what the history has under these Patient IDs, and what becomes of new files with them."""
    sentences = [] if confirmed else [_whose_files(each) for each in met if each.files]
    if kept_out := [shlex.quote(each.given) for each in met if each.is_known]:
        when = "From now on" if confirmed else "Once it is confirmed,"
        sentences.append(f"{when} incremental imports keep out new files with the Patient ID {', '.join(kept_out)}.")
    sentences += [SEVERAL_PERSONS.format(shlex.quote(each.given), each.persons) for each in met if each.persons > 1]
    sentences += [UNKNOWN_ID.format(shlex.quote(each.given)) for each in met if not each.is_known]
    return sentences


def _whose_files(of: ErasedId) -> str:
    files, studies = counted(of.files, "file"), counted(of.studies, "study", "studies")
    months = ""
    if of.first_month:
        first_to_last = of.first_month if of.first_month == of.last_month else f"{of.first_month} to {of.last_month}"
        months = f", examined {first_to_last}"
    return WHOSE_FILES.format(shlex.quote(of.given), files, studies, months)


def _rows(holdings: PatientData) -> Table:
    table = _table("rows of", "", "ids")
    for name, ids in sorted(holdings.rows.items()):
        table.add_row(name, f"{len(ids):,}", _some(ids))
    table.add_row("documents", f"{len(holdings.documents):,}", "")
    table.add_row("image batches", f"{len(holdings.batches):,}", "")
    table.add_row("images", f"{sum(len(batch.images) for batch in holdings.batches):,}", "")
    return table


def _documents(holdings: PatientData) -> Table:
    table = _table("document", "object exists")
    for document in holdings.documents:
        table.add_row(document.id, _mark(document.exists))
    return table


def _batches(holdings: PatientData) -> Table:
    from rich.text import Text

    table = _table("batch, and its images", "object exists", "thumbnail exists")
    for batch in holdings.batches:
        found = len(batch.images)
        but = "" if batch.image_count in {None, found} else f", but its row says {batch.image_count:,}"
        table.add_row(Text(batch.id, style="bold"))
        table.add_row(Text(f"  {counted(found, 'image')}{but}", style="yellow" if but else ""))
        for image in batch.images:
            table.add_row(f"  {image.id}", _mark(image.exists), _mark(image.thumbnail_exists))
    return table


def _table(*columns: str) -> Table:
    from rich.table import Table

    return Table(*columns, box=None, pad_edge=False, header_style="dim")


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else "")


def _mark(exists: Existence) -> Text:
    from rich.text import Text

    if exists is True:
        return Text("yes", style="green")
    if exists is False:
        return Text("no", style="bold red")
    return Text("no file named" if exists is None else f"not known ({exists})", style="yellow")
