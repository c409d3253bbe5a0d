"""Confirm that a Patient ID with several names belongs to one person, for example after a name was corrected.

The flag `patient_id_with_another_name` is removed from the rows of this Patient ID, and files with these names and
birth dates do not get it again. A file with a further name or birth date does. The audit trail says who confirmed it.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.history.rows import ANOTHER_PERSON
from fm_pipeline.errors import RequestError

_LARGEST_ID = 2**63 - 1
# One statement sees one moment: no row of a person who is met meanwhile loses its flag.
_CONFIRM = """
WITH persons AS (
    UPDATE fm_pipeline.import_patients SET one_person_since = clock_timestamp() WHERE patient_id = %(patient_id)s
    RETURNING 1
), flagged AS (
    UPDATE fm_pipeline.import_history SET flags = array_remove(flags, %(flag)s)
    WHERE patient_id = %(patient_id)s AND %(flag)s = ANY(flags) RETURNING 1
)
SELECT (SELECT count(*) FROM persons), (SELECT count(*) FROM flagged)
"""


@dataclass(frozen=True)
class SamePerson:
    """What is confirmed.

    Attributes:
        row_id: of the history, by which the Patient ID was named.
        persons: combinations of name and birth date that were met under the Patient ID.
        rows: flagged rows of the history.
    """

    row_id: int
    persons: int
    rows: int


def confirm_one_person(cursor: Cursor, row_id: int, persons: int | None = None) -> SamePerson:
    """Confirm that everybody met under the Patient ID of a row is one person. The caller commits, or only counts.

    Args:
        row_id: of a row of the history with the flag.
        persons: the number of names and birth dates that somebody has seen (`SamePerson.persons`); None to count.

    Raises:
        RequestError: there is no such row (404), or it does not have the flag; or the number is another one (409).
    """
    cursor.execute(
        "SELECT patient_id FROM fm_pipeline.import_history WHERE id = %s AND %s = ANY(flags)",
        (min(row_id, _LARGEST_ID), ANOTHER_PERSON),
    )
    found = cursor.fetchone()
    if found is None:
        raise RequestError(
            f"There is no row {row_id} of the history with the flag {ANOTHER_PERSON}.",
            code=404,
            remedy=f"fm-pipeline dicom history --flag {ANOTHER_PERSON} lists the rows that have it.",
        )
    cursor.execute(_CONFIRM, {"flag": ANOTHER_PERSON, "patient_id": found[0]})
    met, rows = cursor.fetchone() or (0, 0)
    if persons is not None and met != persons:
        raise RequestError(
            f"The Patient ID of row {row_id} was met with {met:,} names and birth dates, not with {persons:,}.",
            code=409,
            meaning="A file of a further name or birth date may have come since you looked. Nothing was changed.",
            remedy="Look again at all of them, and confirm the new number if they are one person.",
        )
    return SamePerson(row_id, met, rows)
