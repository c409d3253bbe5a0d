"""Phase 8: the checks that must hold before the transaction may commit. If one fails, everything is rolled back.

They are listed in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.digest import table_digest
from fm_pipeline.db.queries import count
from fm_pipeline.db.row_versions import own_transaction, read_versions
from fm_pipeline.db.table import Table
from fm_pipeline.entities.registry import Entity
from fm_pipeline.nexus.catalogue.file_ids import id_key, is_uuid
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.checks import Check
from fm_pipeline.nexus.reimport.difference import Difference, gone
from fm_pipeline.nexus.reimport.relink import has_relinked, relinked_rows, relinked_table
from fm_pipeline.nexus.reimport.trigger_checks import one_of, written_ids
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS, IMAGES, SYSTEM_CONFIGURATION
from fm_pipeline.pluralize import counted

# The only columns of a document or batch that relinking may change.
RELINK_COLUMNS = ("content_type_id", "object_id", "updated_at")


def count_protected(cursor: Cursor, catalogue: Catalogue) -> dict[Table, int]:
    """Count the rows that a reimport must not change (system configuration, files), before it writes."""
    tables = [catalogue.table(name) for name in (*SYSTEM_CONFIGURATION, DOCUMENTS, BATCHES, IMAGES)]
    versions = read_versions(cursor, tables, own_transaction(cursor))
    return {table: versions[table].rows for table in tables}


def check_protected(
    cursor: Cursor, other: Cursor, catalogue: Catalogue, before: Mapping[Table, int], patient_type: int
) -> list[Check]:
    """Check that documents, batches, images and configuration are unchanged, but for the columns of relinked rows.

    Args:
        other: of another connection, which still sees the rows as they were. Rows that this transaction has written
            are compared with it.
        patient_type: id of the content type patients.patient.
    """
    own = own_transaction(cursor)
    after = read_versions(cursor, list(before), own)
    return [
        Check(
            f"{table.name}_untouched",
            rows == after[table].rows
            and (not after[table].later or _only_relinked(cursor, other, catalogue, table, patient_type)),
            f"{counted(rows, 'row')}, {after[table].rows:,} after",
        )
        for table, rows in before.items()
    ]


def _only_relinked(cursor: Cursor, other: Cursor, catalogue: Catalogue, table: Table, patient_type: int) -> bool:
    """Return whether the rows that this transaction has written differ only in the columns of relinking."""
    relinked = relinked_rows(cursor, table) if table.name in (DOCUMENTS, BATCHES) else set()
    return all(
        _are_only_relinked(cursor, other, catalogue, table, written, relinked, patient_type)
        for written in written_ids(cursor, table)
    )


def _are_only_relinked(
    cursor: Cursor,
    other: Cursor,
    catalogue: Catalogue,
    table: Table,
    written: Collection[str],
    relinked: Set[str],
    patient_type: int,
) -> bool:
    """Return it for some of the rows."""
    free = {each for each in written if each in relinked}
    computed = [name for name, column in catalogue.columns[table].items() if column.generated]  # from the others
    if table.name in (DOCUMENTS, BATCHES):
        # References to deleted rows of other kinds (appointments) were set to NULL, and checked at that time.
        other.execute(
            sql.SQL("SELECT id::text FROM {} WHERE content_type_id <> %s AND {}").format(
                table.identifier, one_of(catalogue, table, written)
            ),
            (patient_type,),
        )
        free |= {row[0] for row in other.fetchall()}

    def same(ids: Collection[str], without: Collection[str]) -> bool:
        these = one_of(catalogue, table, ids)
        now = table_digest(cursor, table, without=without, where=these)
        return now == table_digest(other, table, without=without, where=these)

    return same({*written} - free, ()) and same(free, (*RELINK_COLUMNS, *computed))


def check_relinked(cursor: Cursor, catalogue: Catalogue, patient_type: int) -> list[Check]:
    """Check that every relinked document and batch points to the patient of its evidence."""
    checks = []
    for name in (DOCUMENTS, BATCHES):
        rows, unlike = _count_relinked(cursor, catalogue, catalogue.table(name), patient_type)
        checks.append(
            Check(
                f"{name}_relinked",
                not unlike,
                f"of {rows:,}, {counted(unlike, 'does', 'do')} not point to that patient",
            )
        )
    return checks


def _count_relinked(cursor: Cursor, catalogue: Catalogue, table: Table, patient_type: int) -> tuple[int, int]:
    """Return how many rows were relinked, and how many of them do not point to the patient of their evidence."""
    if not has_relinked(cursor, table):
        return 0, 0
    cursor.execute(
        sql.SQL(
            "SELECT count(*), count(*) FILTER (WHERE t.object_id::text IS DISTINCT FROM r.patient) FROM {} r"
            " LEFT JOIN {} t ON t.id = r.id::{} AND t.content_type_id = %s"  # in its own type, which has an index
        ).format(relinked_table(table), table.identifier, sql.SQL(catalogue.columns[table]["id"].type)),
        (patient_type,),
    )
    rows, unlike = cursor.fetchone() or (0, 0)
    return rows, unlike


def check_loaded(cursor: Cursor, difference: Difference, now: datetime, *, deleted: bool) -> list[Check]:
    """Check that Nexus has exactly the staged rows, each once and with its content, also after triggers."""
    table = difference.table
    expected, actual, unlike = difference.compare(cursor, now)
    complete = actual == expected if deleted else actual >= expected
    return [
        Check(f"{table}_count", complete, f"{expected:,} from FileMaker, {actual:,} in Nexus"),
        Check(
            f"{table}_content",
            unlike == 0,
            f"{counted(unlike, 'row differs', 'rows differ')} from what FileMaker gave",
        ),
    ]


def check_rows(cursor: Cursor, table: Table, expected: int) -> Check:
    """Check the number of rows of a table that no other check compares with a source."""
    cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(table.identifier))
    rows = count(cursor)
    return Check(f"{table}_count", rows == expected, f"{counted(expected, 'row')} expected, {rows:,} in Nexus")


def check_duplicates(cursor: Cursor, catalogue: Catalogue, entities: Collection[Entity]) -> list[Check]:
    """No FileMaker id twice in the tables that have one, whether they are loaded by this profile or not."""
    checks = []
    columns = {"appointments": "filemaker_event_id"} | {e.table: e.id_column for e in entities if e.id_column}
    keys: dict[str, sql.Composable] = {
        "patients": sql.SQL("nullif(lower(btrim(filemaker_metadata ->> 'filemaker_id')), '')")
    }
    for name, column in columns.items():
        keys[name] = sql.Identifier(column)
        if not is_uuid(catalogue, name, column):
            keys[name] = sql.SQL("nullif({}, '')").format(id_key(column))
    for name, key in keys.items():
        cursor.execute(
            sql.SQL("SELECT count(*) FROM (SELECT {key} FROM {table} GROUP BY 1 HAVING count({key}) > 1) d").format(
                table=catalogue.table(name).identifier, key=key
            )
        )
        twice = count(cursor)
        checks.append(Check(f"{name}_filemaker_id_once", twice == 0, f"{twice} FileMaker ids more than once"))
    return checks


def check_orphans(cursor: Cursor, catalogue: Catalogue, patient_type: int) -> list[Check]:
    """Check that no document or batch lost its patient in this run; those without one before are only reported."""
    checks = []
    for name in (DOCUMENTS, BATCHES):
        cursor.execute(
            sql.SQL(
                "SELECT count(*), (array_agg(d.id::text ORDER BY d.id))[1:5] FROM {} d JOIN {} g ON g.id = d.object_id"
                " WHERE d.content_type_id = %s OR d.content_type_id IS NULL"
            ).format(catalogue.table(name).identifier, gone(catalogue.table("patients"))),
            (patient_type,),
        )
        row = cursor.fetchone()
        lost, examples = row if row else (0, None)
        found = f"{lost} rows would lose their patient"
        if examples:
            found += f", for example {', '.join(examples)}; fm-pipeline files without-patient lists all of them"
        checks.append(Check(f"{name}_keep_their_patient", lost == 0, found))
    return checks
