"""`fm-pipeline dicom one-person`: confirm that a Patient ID with several names belongs to one person."""

from __future__ import annotations

import click

from fm_pipeline.cli._dicom._context import as_json_option, command_context
from fm_pipeline.pluralize import counted


@click.command(name="one-person")
@click.argument("row_id", type=int)
@click.option(
    "--persons",
    type=click.IntRange(min=0),
    metavar="N",
    help="Confirm it: the number of names and birth dates that the command has shown. Without it, it only counts.",
)
@as_json_option
def command(row_id: int, persons: int | None, as_json: bool) -> None:
    """Confirm that all names under the Patient ID of a row of the history belong to one person.

    For a name or birth date that was corrected: the flag patient_id_with_another_name is removed from the rows of this
    Patient ID, and comes back only with a further name or birth date. Compare the files and Orthanc first.
    """
    from fm_pipeline.dicom.api.requests import one_person

    with command_context(as_json) as context:
        same = one_person(context.settings, row_id, persons=persons, actor=context.actor)
        if as_json:
            context.print_json(
                {
                    "row_id": row_id,
                    "persons": same.persons,
                    "rows": same.rows,
                    "confirmed": persons is not None,
                }
            )
            return
        names = counted(same.persons, "combination of name and birth date", "combinations of name and birth date")
        rows = counted(same.rows, "row")
        context.print(f"The Patient ID of row {row_id} was met with {names}. {rows} of the history had the flag.")
        if persons is not None:
            context.print("Confirmed: they belong to one person. The flag was removed.")
        else:
            context.print(f"Nothing was changed. If all of them are one person, add --persons {same.persons}.")
