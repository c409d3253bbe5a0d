"""Patients in FileMaker who should not be there, or are not who they were: a person should look before they are loaded.

Both happen when FileMaker's file is restored from a backup: a patient who was erased comes back, and an id that was
given after the backup is given again, to somebody else.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import has_table
from fm_pipeline.nexus.reimport.difference import Difference

ERASURE = "Erasure of the patient {} from the pipeline's own tables"  # begins the details in the audit trail
_PERSON = ("first_name", "last_name", "dob")


def erased_ids(cursor: Cursor) -> list[str]:
    """Return the ids, of FileMaker or Nexus and in lower case, of patients who were erased; see `erase_patient`."""
    if not has_table(cursor, "fm_pipeline.audit"):
        return []
    before, _, after = ERASURE.partition("{}")
    cursor.execute(
        "SELECT DISTINCT substr(detail, %(start)s, length(detail) - %(rest)s) FROM fm_pipeline.audit"
        " WHERE action = 'prune' AND outcome = 'done' AND starts_with(detail, %(before)s)"
        " AND right(detail, length(%(after)s)) = %(after)s ORDER BY 1",
        {
            "before": before,
            "after": f"{after}.",
            "start": len(before) + 1,
            "rest": len(before) + len(after) + 1,
        },
    )
    return [row[0] for row in cursor.fetchall()]


def find_erased(cursor: Cursor, differences: Sequence[Difference]) -> list[str]:
    """Return the Nexus ids of patients who were erased and would be inserted again."""
    patients = _patients(differences)
    if patients is None or not (ids := erased_ids(cursor)):
        return []
    cursor.execute(
        sql.SQL(
            "SELECT s.nexus_id::text FROM {staged} s LEFT JOIN {table} t ON t.id = s.nexus_id"
            " WHERE t.id IS NULL AND (lower(s.filemaker_key) = ANY(%(ids)s) OR s.nexus_id::text = ANY(%(ids)s))"
            " ORDER BY 1"
        ).format(staged=patients.staged, table=patients.table.identifier),
        {"ids": ids},
    )
    return [row[0] for row in cursor.fetchall()]


def find_other_people(cursor: Cursor, differences: Sequence[Difference]) -> list[str]:
    """Return the Nexus ids of patients of whom first name, last name and date of birth would all change."""
    patients = _patients(differences)
    if patients is None or not set(_PERSON) <= patients.updates.keys():
        return []
    changes = [
        sql.SQL("t.{column} IS NOT NULL AND ({value}) IS NOT NULL AND {differs}").format(
            column=sql.Identifier(name), value=patients.updates[name], differs=patients.differs([name])
        )
        for name in _PERSON
    ]
    cursor.execute(
        sql.SQL(
            "SELECT t.id::text FROM {table} t JOIN {staged} s ON s.nexus_id = t.id WHERE {changes} ORDER BY 1"
        ).format(staged=patients.staged, table=patients.table.identifier, changes=sql.SQL(" AND ").join(changes)),
        {"now": None},
    )
    return [row[0] for row in cursor.fetchall()]


def _patients(differences: Sequence[Difference]) -> Difference | None:
    return next((each for each in differences if each.entity.name == "patient"), None)
