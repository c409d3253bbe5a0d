"""Removes what the pipeline's own schema holds of one patient, after the patient was deleted in FileMaker and Nexus.

It removes records as FileMaker sent them, staged rows and findings, the pairs of ids in the crosswalk, what a sync
compares with, the rows before and after syncs, rows that a restore has set aside, the lines of FileMaker's export of
images, and the rows of the patient's images in both ledgers. Nothing is written to Nexus' tables. Ids stay in the audit
trail, plans and reports: they say what happened, and nothing leads from them to a person any more.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.audit import audited, operating_system_user, record_done
from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import acquire_reimport_lock
from fm_pipeline.db.migrate import migrate
from fm_pipeline.db.queries import database_name, has_table
from fm_pipeline.entities.registry import ENTITIES
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.staged_registry import read_registry
from fm_pipeline.nexus.unexpected_patients import ERASURE
from fm_pipeline.settings import Settings

_IDS_OF_PATIENT = """
SELECT lower(filemaker_key), nexus_id::text FROM fm_pipeline.crosswalk WHERE entity = 'patient'
UNION SELECT lower(filemaker_key), nexus_id::text FROM fm_pipeline.retired_patient_ids
UNION SELECT lower(filemaker_key), nexus_id::text FROM fm_pipeline.staged_patients
UNION SELECT lower(filemaker_key), nexus_id::text FROM fm_pipeline.synced_rows WHERE entity = 'patient'
UNION SELECT filemaker_key, NULL FROM fm_pipeline.source_records WHERE entity = 'patient'
"""
_RECORDS = """
CREATE TEMP TABLE erased ON COMMIT DROP AS SELECT entity, record_id, filemaker_key FROM fm_pipeline.source_records
WHERE patient_key = %(key)s OR (entity = 'patient' AND filemaker_key = %(key)s)
"""
# Records that point to those, for example the lines of an invoice
_CHILDREN = """
INSERT INTO erased SELECT s.entity, s.record_id, s.filemaker_key FROM fm_pipeline.source_records s
WHERE s.entity = %(child)s AND EXISTS (SELECT FROM erased e WHERE e.entity = %(parent)s
    AND e.filemaker_key = s.parent_keys ->> %(field)s)
  AND NOT EXISTS (SELECT FROM erased e WHERE e.entity = s.entity AND e.record_id = s.record_id)
"""
# A row belongs to the patient if one of its values is an id of the patient, or of another row that belongs to it.
_HOLDS = "EXISTS (SELECT FROM json_each_text({column}) v WHERE lower(v.value) = ANY(%(ids)s))"


@dataclass(frozen=True)
class Erasure:
    """What was removed, or would be.

    Attributes:
        filemaker_key: the patient's id in FileMaker, lower case; empty if only Nexus' id is known.
        rows: removed, or emptied of what is personal, by table of the schema `fm_pipeline`; tables without rows are
            left out.
        confirmation: the words that a person has to type.
    """

    filemaker_key: str
    rows: Mapping[str, int]
    confirmation: str


def erase_patient(
    settings: Settings,
    reference: str,
    *,
    confirm: str,
    elsewhere: Callable[[Cursor], Mapping[str, int]],
) -> Erasure:
    """Remove a patient from the pipeline's own tables, in one transaction.

    Args:
        reference: the FileMaker id in any letter case, or the id in Nexus.
        confirm: the words of `Erasure.confirmation`, typed by a person; empty: everything is rolled back.
        elsewhere: erases what other parts of the pipeline know, in the same transaction; gives the rows by table.

    Raises:
        RequestError: Nexus still has the patient; the id names two patients; or the words differ.
        LockStop: a reimport runs.
        DatabaseError: PostgreSQL refused something. Nothing was removed.
    """
    url = settings.nexus_database_url.get_secret_value()
    migrate(url)
    actor, about = operating_system_user(), ERASURE.format(reference.strip().lower()[:100])
    with (
        audited(
            url,
            actor=actor,
            action="prune",
            about=f"{about}." if confirm else f"{about}: a dry run, rolled back.",
        ),
        connect(url) as connection,
        connection.cursor() as cursor,
    ):
        acquire_reimport_lock(connection)
        key, ids = _resolve(cursor, reference.strip().lower())
        _refuse_patient_of_nexus(cursor, settings, ids)
        rows = _erase(cursor, key, ids) | dict(elsewhere(cursor))
        erasure = Erasure(key, rows, f"{database_name(cursor)} {sum(rows.values())}")
        if not confirm:
            connection.rollback()
        elif confirm.split() != erasure.confirmation.split():
            raise RequestError(
                "The confirmation does not name this database and the number of rows.",
                meaning="Nothing was removed.",
                remedy="Look at it without --confirm; the last line has the words.",
            )
        else:
            for known in sorted({key, *ids} - {"", reference.strip().lower()}):  # none may come back under another id
                record_done(cursor, actor=actor, action="prune", detail=f"{ERASURE.format(known)}.")
            connection.commit()
    return erasure


def _resolve(cursor: Cursor, reference: str) -> tuple[str, set[str]]:
    """Return FileMaker's id of the patient, or an empty text, and all ids that it has or had in Nexus."""
    cursor.execute(
        sql.SQL(
            "WITH known (key, id) AS ({known}) SELECT key, id FROM known WHERE key IN"
            " (SELECT key FROM known WHERE key = %(reference)s OR id = %(reference)s)"
        ).format(known=sql.SQL(_IDS_OF_PATIENT)),
        {"reference": reference},
    )
    found = cursor.fetchall()
    keys = {key for key, _ in found}
    if len(keys) > 1:
        raise RequestError(
            "The id names two patients.", meaning="Nothing was removed.", remedy="Give FileMaker's id of the patient."
        )
    ids = {nexus_id for _, nexus_id in found if nexus_id}
    return (keys.pop() if keys else ""), ids | ({reference} if _is_uuid(reference) else set())


def _refuse_patient_of_nexus(cursor: Cursor, settings: Settings, ids: Collection[str]) -> None:
    """Refuse a patient that Nexus has: without the staged rows, a reimport would take it for one that is gone."""
    patients = read_catalogue(cursor, settings.nexus_schema).table("patients")
    cursor.execute(
        sql.SQL("SELECT id::text FROM {} WHERE id::text = ANY(%s)").format(patients.identifier), (sorted(ids),)
    )
    if there := [row[0] for row in cursor.fetchall()]:
        raise RequestError(
            f"Nexus still has the patient {', '.join(there)}.",
            meaning="Nothing was removed.",
            remedy="Delete the patient in FileMaker, then in Nexus with its own means, and start again.",
        )


def _erase(cursor: Cursor, key: str, ids: Collection[str]) -> dict[str, int]:
    """Delete the rows; return how many, by table."""
    cursor.execute(_RECORDS, {"key": key or None})
    registry = {**ENTITIES, **read_registry(cursor)}
    _add_children(cursor, [(each.name, p.entity, p.field) for each in registry.values() for p in each.other_parents])
    rows: dict[str, int] = {}

    def delete(table: str, where: str, **values: object) -> None:
        statement = sql.SQL("DELETE FROM {} t WHERE {}").format(sql.Identifier("fm_pipeline", table), sql.SQL(where))
        cursor.execute(statement, values)
        if cursor.rowcount:
            rows[table] = rows.get(table, 0) + cursor.rowcount

    for entity in registry.values():
        if has_table(cursor, f"fm_pipeline.{entity.staged_table}"):
            own = "record_id IN (SELECT record_id FROM erased WHERE entity = %(entity)s)"
            delete(
                entity.staged_table, f"{'entity = %(entity)s AND ' if entity.files else ''}{own}", entity=entity.name
            )
    for table in ("staged_outcomes", "staged_findings"):
        delete(table, "(entity, record_id) IN (SELECT entity, record_id FROM erased)")
    known = [*ids, *([key] if key else [])]
    # Only an id that no other value can be equal to by chance is looked for in all columns.
    unmistakable = [each for each in known if _is_uuid(each)]
    values = " OR ".join(_HOLDS.format(column=f"t.{name}::json") for name in ("nexus", "filemaker"))
    of_patient = "(entity, filemaker_key) IN (SELECT entity, filemaker_key FROM erased)"
    delete("synced_rows", f"{of_patient} OR nexus_id::text = ANY(%(ids)s) OR {values}", ids=unmistakable)
    belonging = _belonging(cursor, unmistakable)
    before_or_after = " OR ".join(_HOLDS.format(column=f"t.{name}") for name in ("before", "after"))
    delete("sync_changes", f"row_id = ANY(%(ids)s) OR {before_or_after}", ids=belonging)
    delete("set_aside_rows", f"row_key = ANY(%(ids)s) OR {_HOLDS.format(column='t.content')}", ids=belonging)
    delete("image_metadata", "lower(btrim(patient_ref, ' {}')) = ANY(%(ids)s)", ids=known)
    delete("image_copies", "lower(btrim(patient_key, ' {}')) = ANY(%(ids)s)", ids=known)
    of_image = "filemaker_key IN (SELECT filemaker_key FROM erased WHERE entity = 'image')"
    delete("waterfall_images", f"{of_image} OR lower(image ->> 'patient') = ANY(%(ids)s)", ids=known)
    delete("sync_decisions", "nexus_id = ANY(%(ids)s) OR lower(filemaker_key) = ANY(%(ids)s)", ids=[*belonging, *known])
    delete("crosswalk", f"{of_patient} OR nexus_id::text = ANY(%(ids)s)", ids=belonging)
    delete("retired_patient_ids", "nexus_id::text = ANY(%(ids)s) OR lower(filemaker_key) = ANY(%(ids)s)", ids=known)
    delete("source_records", "(entity, record_id) IN (SELECT entity, record_id FROM erased)")
    # What is left is not what was read: the next sync reads these layouts whole. It is still known if FileMaker's file
    # was restored from a backup, and which file was read.
    cursor.execute(
        "UPDATE fm_pipeline.source_readings SET whole_at = 'epoch' WHERE entity IN (SELECT entity FROM erased)"
    )
    return rows


def _add_children(cursor: Cursor, parents: Sequence[tuple[str, str, str]]) -> None:
    added = True
    while added:
        added = False
        for child, parent, field in parents:
            cursor.execute(_CHILDREN, {"child": child, "parent": parent, "field": field})
            added = added or cursor.rowcount > 0


def _belonging(cursor: Cursor, known: Sequence[str]) -> list[str]:
    """Return the patient's ids, and those of rows in the history that name one of them, directly or not."""
    ids = set(known)
    while True:
        conditions = " OR ".join(_HOLDS.format(column=name) for name in ("before", "after"))
        cursor.execute(
            f"SELECT row_id FROM fm_pipeline.sync_changes WHERE {conditions} UNION"  # noqa: S608  # our own words
            f" SELECT row_key FROM fm_pipeline.set_aside_rows WHERE {_HOLDS.format(column='content')}",
            {"ids": sorted(ids)},
        )
        new = {row_id for (row_id,) in cursor.fetchall() if _is_uuid(row_id)} - ids
        if not new:
            return sorted(ids)
        ids |= new


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
