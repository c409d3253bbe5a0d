"""Columns that hold ids of patients or appointments without a foreign key.

Django creates such columns for `db_constraint=False`, and applications keep ids in varchar and text columns. They are
found by their content: a value that equals the id of a patient is a reference to it, since uuids do not collide.
Integers are never searched. Tables larger than `SAMPLED_BYTES` are searched by a sample, and completely only in columns
whose name suggests a reference.

If a patient's row was merged into another one, its earlier id is replaced by the present one. A reference to a row that
is deleted is kept, set to NULL, or stops the reimport: NEXUS_SOFT_REFERENCES decides.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import psycopg2
import psycopg2.errors
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import comma, count
from fm_pipeline.db.table import Column, Table
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.schema import SoftReference
from fm_pipeline.nexus.catalogue.table_details import key_columns
from fm_pipeline.nexus.reimport.difference import gone
from fm_pipeline.nexus.reimport.other_writes import parse_trigger_tables
from fm_pipeline.nexus.reimport.references import Reference, RepointedReference, as_uuid, in_the_form_of
from fm_pipeline.nexus.table_names import BATCHES, CONTENT_TYPES, DOCUMENTS, IMAGES, SYSTEM_CONFIGURATION
from fm_pipeline.nexus.table_policy import Policy
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

SAMPLED_BYTES = 64 * 1024 * 1024
JSON_ROWS = 1_000
TELLING_NAME = re.compile(r"(?:^|_)(?:patient|appointment)_?(?:id|uuid|pk|key|ref)$")
NO_KEY = "no foreign key"
_REFERRED = ("patients", "appointments")
_LOCK_PATIENCE = "2s"

_log = logging.getLogger(__name__)

# Tables that the role may read whole.
_READABLE = """
SELECT n.nspname, c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND has_schema_privilege(n.oid, 'USAGE')
  AND has_column_privilege(c.oid, a.attnum, 'SELECT')
  AND NOT row_security_active(c.oid)
"""
# The ids that are searched for: of rows that were merged into another row of the patient, and of rows to be deleted.
# Earlier ids that are learnt from files during a reimport would be used here only by the next one.
_GOING = """
CREATE TEMP TABLE going_ids ON COMMIT DROP AS
SELECT r.nexus_id AS id, 'patients' AS kind, true AS replaced
FROM fm_pipeline.retired_patient_ids r JOIN fm_pipeline.staged_patients s USING (filemaker_key)
WHERE r.origin = 'duplicate'
  AND NOT EXISTS (SELECT 1 FROM fm_pipeline.staged_patients k WHERE k.nexus_id = r.nexus_id)
UNION ALL
SELECT p.id, 'patients', false FROM {patients} p
WHERE NOT EXISTS (SELECT 1 FROM fm_pipeline.staged_patients k WHERE k.nexus_id = p.id)
  AND NOT EXISTS (SELECT 1 FROM fm_pipeline.retired_patient_ids r JOIN fm_pipeline.staged_patients s
                  USING (filemaker_key) WHERE r.nexus_id = p.id)
UNION ALL
SELECT a.id, 'appointments', false FROM {appointments} a
WHERE NOT EXISTS (SELECT 1 FROM fm_pipeline.staged_appointments k WHERE k.nexus_id = a.id);
ANALYZE going_ids
"""
_THERE = """
(SELECT 'patients' AS kind, false AS replaced FROM {patients} p WHERE p.id = v.id
 UNION ALL SELECT 'appointments', false FROM {appointments} a WHERE a.id = v.id)
"""
_UUIDS_IN_TEXT = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"


def with_soft_references(
    cursor: Cursor,
    policy: Policy,
    settings: Settings,
    fed: Mapping[str, Collection[str]],
    staying: Collection[str] = (),
) -> Policy:
    """Return the policy with the soft references that a reimport of the staged rows has to handle.

    Args, Raises: as `find_soft_references` and `parse_trigger_tables`.
    """
    policy = replace(policy, growing=parse_trigger_tables(policy.catalogue, settings.nexus_trigger_tables))
    soft = find_soft_references(cursor, policy, fed, staying)
    return replace(policy, soft=tuple(soft), soft_action=settings.nexus_soft_references)


def find_soft_references(
    cursor: Cursor, policy: Policy, fed: Mapping[str, Collection[str]], staying: Collection[str]
) -> list[SoftReference]:
    """Find the columns with earlier ids of patients, or ids of rows to be deleted, by what is staged.

    Args:
        cursor: inside a transaction that may create a temporary table.
        fed: by table of the policy, the columns that the load sets anyway.
        staying: ids of rows that are kept although FileMaker does not have them.
    """
    cursor.execute(sql.SQL(_GOING).format(**_tables(policy)))
    cursor.execute("DELETE FROM going_ids WHERE id::text = ANY(%s)", (list(staying),))
    cursor.execute("SELECT count(*) FROM going_ids")
    any_going = count(cursor) > 0
    found = []
    ids = sql.SQL("(SELECT kind, replaced FROM going_ids g WHERE g.id = v.id)")
    for table, columns in _searched(cursor, policy, fed) if any_going else ():
        there = sql.SQL(_THERE).format(**_tables(policy))
        size = _size(cursor, table)
        if size > SAMPLED_BYTES:
            holding = {column for column, *_ in _search(cursor, policy, table, columns, there, size=size)}
            columns = [c for c in columns if c.name in holding or TELLING_NAME.search(c.name)]  # noqa: PLW2901
        rows = _search(cursor, policy, table, columns, ids, staged=True)
        numbers = {(column, kind, replaced): number for column, kind, replaced, number in rows}
        keys = key_columns(cursor, table)
        known = bool(keys) or "id" in policy.catalogue.columns[table]  # by what a restore knows its rows
        for column, kind in sorted({(column, kind) for column, kind, _ in numbers}):
            replaced, going = (numbers.get((column, kind, each), 0) for each in (True, False))
            writable = known and column not in keys
            found.append(SoftReference(table, column, policy.catalogue.table(kind), replaced, going, writable))
    cursor.execute("DROP TABLE going_ids")
    return found


def list_soft_references(cursor: Cursor, policy: Policy) -> dict[tuple[Table, str], list[str]]:
    """Return the columns that hold ids of patients or appointments, or whose name suggests it; reads only.

    Returns:
        By table and column, the names of the tables whose ids it holds.
    """
    ids = sql.SQL(_THERE).format(**_tables(policy))
    found: dict[tuple[Table, str], list[str]] = {}
    for table, columns in _searched(cursor, policy, {}):
        found |= {(table, column.name): [] for column in columns if TELLING_NAME.search(column.name)}
        rows = _search(cursor, policy, table, columns, ids, size=_size(cursor, table))
        for column, kind in sorted({row[:2] for row in rows}):
            found.setdefault((table, column), []).append(kind)
    return found


def list_json_references(cursor: Cursor, policy: Policy) -> list[tuple[Table, str]]:
    """Return the json, jsonb and array columns whose first rows contain ids of patients. They are never changed."""
    patients = policy.catalogue.table("patients")
    found = []
    readable = _readable_columns(cursor)
    for table, columns in sorted(policy.catalogue.columns.items()):
        for name in [c.name for c in columns.values() if c.type in ("json", "jsonb") or c.type.endswith("[]")]:
            if table in _excluded_tables(policy) or policy.entity_of(table) or (table, name) not in readable:
                continue
            with _patience(cursor, table):
                cursor.execute(
                    sql.SQL(
                        "SELECT EXISTS (SELECT 1 FROM (SELECT {column}::text AS value FROM {table}"
                        " WHERE {column} IS NOT NULL LIMIT {rows}) t, regexp_matches(t.value, {uuids}, 'gi') AS m (id)"
                        " JOIN {patients} p ON p.id = m.id[1]::uuid)"
                    ).format(
                        column=sql.Identifier(name),
                        table=table.identifier,
                        rows=sql.Literal(JSON_ROWS),
                        uuids=sql.Literal(_UUIDS_IN_TEXT),
                        patients=patients.identifier,
                    )
                )
                if cursor.fetchone() == (True,):
                    found.append((table, name))
    return found


def repoint_soft_references(cursor: Cursor, policy: Policy) -> Iterator[RepointedReference]:
    """Replace earlier ids of patients; keep references to deleted rows, set them to NULL, or refuse them.

    Args:
        cursor: inside the transaction; `replaced_patients` and the `gone_*` tables are filled.

    Raises:
        CatalogueStop: a value refers to a row that is deleted, and NEXUS_SOFT_REFERENCES is `stop`.
    """
    for soft in policy.soft:
        column = policy.catalogue.columns[soft.table][soft.column]
        reference = Reference(soft.table, soft.column, soft.to, NO_KEY, not column.not_null)
        if soft not in policy.written_soft:
            repointed = emptied = 0
            kept = soft.gone + soft.replaced
        else:
            repointed = _write(cursor, _repoint(policy, soft, column)) if soft.to.name == "patients" else 0
            kept = _count_kept(cursor, policy, soft, column)
            emptied = 0
            if kept and policy.soft_action == "empty":
                emptied = _write(cursor, _empty(policy, soft, column))
                kept = _count_kept(cursor, policy, soft, column)
        if kept and policy.soft_action == "stop":
            of = f"{soft.table}.{soft.column}"
            raise CatalogueStop(
                f"{counted(kept, f'row of {of} holds', f'rows of {of} hold')} the id of rows of {soft.to} that would be"
                f" deleted ({NO_KEY}).",
                meaning="They would point to nobody. NEXUS_SOFT_REFERENCES=stop refuses that. Nothing was changed.",
                remedy=f"Decide in Nexus what to do with these rows of {soft.table}, or set NEXUS_SOFT_REFERENCES to"
                " keep or empty, then start again.",
            )
        if repointed or emptied or kept:
            yield RepointedReference(reference, repointed, emptied, kept)


def _tables(policy: Policy) -> dict[str, sql.Composable]:
    return {name: policy.catalogue.table(name).identifier for name in _REFERRED}


def _excluded_tables(policy: Policy) -> set[Table]:
    """Return tables that are cleared, that record history, or that a reimport must not change."""
    protected = (*SYSTEM_CONFIGURATION, DOCUMENTS, BATCHES, IMAGES, CONTENT_TYPES, "auth_user")
    return {*policy.cleared, *policy.histories, *policy.growing, *map(policy.catalogue.table, protected)}


def _readable_columns(cursor: Cursor) -> set[tuple[Table, str]]:
    """Return the columns that the role may read, of tables without row security: it reads no password of an account."""
    cursor.execute(_READABLE)
    return {(Table(schema, table), column) for schema, table, column in cursor.fetchall()}


def list_unread_references(cursor: Cursor, policy: Policy) -> list[tuple[Table, str]]:
    """Return the columns that are named as references, and that nobody follows: the role may not read all rows."""
    readable = _readable_columns(cursor)
    named = [(table, c.name) for table, columns in _columns(policy, {}) for c in columns if TELLING_NAME.search(c.name)]
    return [each for each in named if each not in readable]


def _searched(
    cursor: Cursor, policy: Policy, fed: Mapping[str, Collection[str]]
) -> Iterator[tuple[Table, list[Column]]]:
    """Yield the tables and columns that may hold such ids and that the role may read."""
    readable = _readable_columns(cursor)
    for table, columns in _columns(policy, fed):
        if names := [column for column in columns if (table, column.name) in readable]:
            yield table, names


def _columns(policy: Policy, fed: Mapping[str, Collection[str]]) -> Iterator[tuple[Table, list[Column]]]:
    """Yield the tables and columns that may hold such ids."""
    catalogue = policy.catalogue
    known = {(key.table, name) for key in catalogue.foreign_keys for name in key.columns}
    known |= {(key.table, key.object_id_column) for key in catalogue.generic_keys}
    alone = _excluded_tables(policy)
    for table, columns in sorted(catalogue.columns.items()):
        if table in alone:
            continue
        set_anyway = {"id", *fed.get(table.name, ())} if policy.entity_of(table) else set()
        names = [
            column
            for name, column in columns.items()
            if column.can_hold_a_uuid and not column.generated and (table, name) not in known and name not in set_anyway
        ]
        yield table, names


def _search(
    cursor: Cursor,
    policy: Policy,
    table: Table,
    columns: Sequence[Column],
    ids: sql.Composable,
    *,
    size: int = 0,
    staged: bool = False,
) -> list[tuple[str, str, bool, int]]:
    """Search columns for ids; return column, kind of id, whether it was replaced, and number of rows.

    Args:
        size: of the table in bytes; if it is large, a sample is read.
        staged: leave out rows that are deleted.
    """
    if not columns:
        return []
    sample = f" TABLESAMPLE SYSTEM ({100 * SAMPLED_BYTES / size:.6f})" if size > SAMPLED_BYTES else ""
    rows = sql.SQL("{}{}").format(sql.SQL("{} t").format(table.identifier), sql.SQL(sample))
    stays: sql.Composable = sql.SQL("true")
    if staged and (entity := policy.entity_of(table)):
        stays = sql.SQL("t.id IN (SELECT nexus_id FROM {})").format(sql.Identifier("fm_pipeline", entity.staged_table))
    found = []
    with _patience(cursor, table):
        # Most columns have no value of such a length. One scan of the table finds that out for all columns.
        lengths = [
            sql.SQL("count(*) > 0")  # one row in any case: a table may be empty
            if column.type == "uuid"
            else sql.SQL("bool_or(octet_length({}::text) IN (32, 36))").format(_column(column))
            for column in columns
        ]
        cursor.execute(sql.SQL("SELECT {} FROM {}").format(comma(lengths), rows))
        fits = cursor.fetchone() or ()
        for column in [column for column, fit in zip(columns, fits, strict=True) if fit]:
            cursor.execute(
                sql.SQL(
                    "SELECT k.kind, k.replaced, count(*) FROM (SELECT {id} AS id FROM {rows} WHERE {stays}) v"
                    " CROSS JOIN LATERAL {ids} k WHERE v.id IS NOT NULL GROUP BY 1, 2"
                ).format(id=as_uuid(column, _column(column)), rows=rows, stays=stays, ids=ids)
            )
            found += [(column.name, kind, replaced, number) for kind, replaced, number in cursor.fetchall()]
    return found


def _size(cursor: Cursor, table: Table) -> int:
    """Return the size of a table with its partitions, in bytes; 0 if another session has locked it."""
    with _patience(cursor, table):
        name = table.identifier.as_string(cursor)
        cursor.execute(
            "SELECT coalesce(sum(pg_relation_size(relid)), pg_relation_size(%s::regclass))"
            " FROM pg_partition_tree(%s::regclass) WHERE isleaf",
            (name, name),
        )
        return count(cursor)
    return 0


@contextmanager
def _patience(cursor: Cursor, table: Table) -> Iterator[None]:
    """Skip a table that another session has locked (a migration, VACUUM FULL), with a warning."""
    cursor.execute("SAVEPOINT search")
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", (_LOCK_PATIENCE,))
    try:
        yield
    except psycopg2.errors.LockNotAvailable:
        _log.warning("%s was locked by somebody else: it was not searched for ids of patients.", table)
    finally:  # nothing was written, and the time-out is what it was
        cursor.execute("ROLLBACK TO SAVEPOINT search; RELEASE SAVEPOINT search")


def _repoint(policy: Policy, soft: SoftReference, column: Column) -> sql.Composable:
    value = _column(column)
    return sql.SQL(
        "UPDATE {table} t SET {column} = {new} FROM replaced_patients r WHERE r.id = {id}"
        " AND NOT EXISTS (SELECT 1 FROM fm_pipeline.staged_patients k WHERE k.nexus_id = r.id)"
        " AND EXISTS (SELECT 1 FROM fm_pipeline.retired_patient_ids d"
        " WHERE d.nexus_id = r.id AND d.origin = 'duplicate')"
        " AND {stays}"
    ).format(
        table=soft.table.identifier,
        column=sql.Identifier(column.name),
        new=in_the_form_of(column, value, sql.SQL("r.new_id")),
        id=as_uuid(column, value),
        stays=_stays(policy, soft),
    )


def _empty(policy: Policy, soft: SoftReference, column: Column) -> sql.Composable:
    # Django has no NULL in a text column that must be filled.
    nothing = sql.SQL("NULL") if not column.not_null or column.type == "uuid" else sql.SQL("''")
    return sql.SQL("UPDATE {table} t SET {column} = {nothing} WHERE {going}").format(
        table=soft.table.identifier,
        column=sql.Identifier(column.name),
        nothing=nothing,
        going=_points_to_what_goes(policy, soft, column),
    )


def _count_kept(cursor: Cursor, policy: Policy, soft: SoftReference, column: Column) -> int:
    cursor.execute(
        sql.SQL("SELECT count(*) FROM {} t WHERE {}").format(
            soft.table.identifier, _points_to_what_goes(policy, soft, column)
        )
    )
    return count(cursor)


def _points_to_what_goes(policy: Policy, soft: SoftReference, column: Column) -> sql.Composable:
    return sql.SQL("{} IN (SELECT id FROM {}) AND {}").format(
        as_uuid(column, _column(column)), gone(soft.to), _stays(policy, soft)
    )


def _stays(policy: Policy, soft: SoftReference) -> sql.Composable:
    if policy.entity_of(soft.table):
        return sql.SQL("t.id NOT IN (SELECT id FROM {})").format(gone(soft.table))
    return sql.SQL("true")


def _write(cursor: Cursor, statement: sql.Composable) -> int:
    """Run an update and return its number of rows; 0 if a constraint refuses it, since the reference may then stay."""
    cursor.execute("SAVEPOINT repointing")
    try:
        cursor.execute(statement)
    except (psycopg2.IntegrityError, psycopg2.DataError):
        cursor.execute("ROLLBACK TO SAVEPOINT repointing; RELEASE SAVEPOINT repointing")
        return 0
    rows = cursor.rowcount
    cursor.execute("RELEASE SAVEPOINT repointing")
    return rows


def _column(column: Column) -> sql.Composable:
    return sql.SQL("t.{}").format(sql.Identifier(column.name))
