"""Detects writes to tables that a transaction must not change: by a trigger, a rule, or a cascading foreign key.

PostgreSQL counts the rows that a transaction inserts, updates and deletes (`pg_stat_xact_all_tables`). Two kinds of
changes are not counted:

- TRUNCATE, DROP and ALTER TABLE. Each of them changes or removes the table's entry in `pg_class`.
- Writes to foreign tables. The transaction then holds a lock on the table that a reader does not take.

Rolled back savepoints and updates without a change are counted too. So a table with a count is compared with what
another connection sees.

Source: PostgreSQL manual, "The Cumulative Statistics System", "pg_class", "Explicit Locking".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import psycopg2.errors
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.digest import table_digest
from fm_pipeline.db.table import Table
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.checks import Check

SETTING = "NEXUS_TRIGGER_TABLES"
_LOCK_PATIENCE = "2s"
# Those of our own tables that only get new rows. The other ones may be changed in any way.
_INSERT_ONLY = (Table("fm_pipeline", "crosswalk"), Table("fm_pipeline", "retired_patient_ids"))

_TABLE_STATES = """
SELECT c.oid, n.nspname, c.relname, c.relfilenode,
       (SELECT string_agg(i.inhparent::text, ' ' ORDER BY i.inhparent) FROM pg_inherits i WHERE i.inhrelid = c.oid),
       (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
"""
# Tables that this session locks so that nobody else can have altered them since.
_LOCKED = """
SELECT l.relation, coalesce(pg_partition_root(l.relation)::oid, l.relation)
FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
"""
# Partitions are counted separately; the tables that may be written are named by their parent. A materialized view is
# derived from other tables, so its refresh loses nothing.
_COUNTED = """
SELECT n.nspname, c.relname, sum(n_tup_ins), sum(n_tup_upd + n_tup_del) FROM pg_stat_xact_all_tables s
JOIN pg_class c ON c.oid = coalesce(pg_partition_root(s.relid), s.relid) AND c.relkind <> 'm'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n_tup_ins + n_tup_upd + n_tup_del > 0
  AND (n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
       OR c.oid IN ('pg_largeobject'::regclass, 'pg_largeobject_metadata'::regclass))
GROUP BY 1, 2 ORDER BY 1, 2
"""
_FOREIGN = """
SELECT DISTINCT n.nspname, c.relname FROM pg_locks l
JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
JOIN pg_class c ON c.oid = l.relation AND c.relkind = 'f' JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = pg_backend_pid() AND l.mode IN ('RowExclusiveLock', 'AccessExclusiveLock') ORDER BY 1, 2
"""


class TableState(NamedTuple):
    """The part of a table's entry in the catalogue that TRUNCATE and ALTER TABLE change.

    Attributes:
        file: number of the file with the rows (relfilenode); 0 for a partitioned table, which has none.
        parents: the tables that it is a partition of or inherits from.
        dropped_columns: number of its dropped columns.
    """

    table: Table
    file: int
    parents: str | None
    dropped_columns: int


TableStates = Mapping[int, TableState]


def read_table_states(cursor: Cursor) -> TableStates:
    """Return the state of every table by its oid; before the transaction writes."""
    cursor.execute(_TABLE_STATES)
    return {oid: TableState(Table(schema, name), *form) for oid, schema, name, *form in cursor.fetchall()}


def parse_trigger_tables(catalogue: Catalogue, names: str | None) -> tuple[Table, ...]:
    """Parse NEXUS_TRIGGER_TABLES: the tables to which triggers of the application may add rows.

    Args:
        names: separated by commas; with the schema if it is not that of Nexus.

    Raises:
        CatalogueStop: there is no such table.
    """
    tables = []
    for name in filter(None, (part.strip() for part in (names or "").split(","))):
        schema, _, table = name.rpartition(".")
        tables.append(Table(schema or catalogue.schema, table))
    unknown = [str(table) for table in tables if table not in catalogue.columns]
    if unknown:
        raise CatalogueStop(
            f"{SETTING} names a table that is not in this database: {', '.join(unknown)}.",
            meaning="Nothing was changed.",
            remedy=f"Correct {SETTING}: names of tables, separated by commas, as history.events where the schema is"
            f" not {catalogue.schema}. A partition is named by its parent.",
        )
    return tuple(tables)


# Tables that inherit from another one, also through others; partitions have no rows of their own.
_INHERITING = """
WITH RECURSIVE heirs AS (
    SELECT i.inhrelid AS heir, i.inhparent AS parent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE c.relkind = 'r' AND NOT c.relispartition
    UNION
    SELECT h.heir, i.inhparent FROM heirs h JOIN pg_inherits i ON i.inhrelid = h.parent
)
SELECT hn.nspname, hc.relname, pn.nspname, pc.relname
FROM heirs h JOIN pg_class hc ON hc.oid = h.heir JOIN pg_namespace hn ON hn.oid = hc.relnamespace
     JOIN pg_class pc ON pc.oid = h.parent JOIN pg_namespace pn ON pn.oid = pc.relnamespace
ORDER BY 1, 2, 3, 4
"""


def check_nothing_else_written(
    cursor: Cursor,
    before: TableStates,
    written: Collection[Table],
    growing: Collection[Table],
    other: Cursor | None = None,
    compared: Collection[Table] = (),
) -> Check:
    """Check that the transaction changed no other table.

    Args:
        before: the tables as they were when the transaction began to write.
        written: the tables whose rows it may change; none of them may be truncated or altered.
        growing: the tables to which triggers may add rows.
        other: of another connection, which still sees the rows as they were.
        compared: see `find_altered_tables`.
    """
    others = _counted(cursor, written, growing, other) + find_altered_tables(cursor, before, compared)
    cursor.execute(_FOREIGN)
    others += [f"{Table(*name)} (a foreign table)" for name in cursor.fetchall()]
    cursor.execute("SHOW track_counts")
    if cursor.fetchone() != ("on",):
        others.append("unknown, because track_counts is off")
    remedy = (
        f"A trigger or a rule changed the tables of nothing_else_written. If it only adds rows to a table (a record of"
        f" changes), name that table in {SETTING}. Otherwise disable the trigger for this run."
    )
    cursor.execute(_INHERITING)
    written_names = {*map(str, written)}
    heirs = [
        f"{heir} inherits from {parent}"
        for heir, parent in ((Table(*row[:2]), Table(*row[2:])) for row in cursor.fetchall())
        if str(parent) in written_names and any(other.startswith(f"{heir} (") for other in others)
    ]
    if heirs:
        remedy = (
            f"{'; '.join(heirs)}: PostgreSQL takes its rows for rows of both tables, and a reimport or an image link"
            " would change them too. As the owner, take it out (ALTER TABLE … NO INHERIT …), or tell the maintainers"
            " what its rows are."
        )
    found = ", ".join(others) or "no other table was written"
    return Check("nothing_else_written", not others, found, remedy if others else "")


def _counted(cursor: Cursor, written: Collection[Table], growing: Collection[Table], other: Cursor | None) -> list[str]:
    """Return the tables with unexpected writes of this transaction, by PostgreSQL's counters."""
    found = []
    cursor.execute(_COUNTED)
    for schema, name, inserted, changed in cursor.fetchall():
        table = Table(schema, name)
        grows = table in growing or schema == "fm_pipeline"
        if table in written or (grows and not changed) or (schema == "fm_pipeline" and table not in _INSERT_ONLY):
            continue
        if schema == "pg_catalog":
            found.append(f"large objects ({inserted + changed} pages or entries)")
        elif table in growing:
            found.append(f"{table} ({changed} rows changed or deleted, which {SETTING} does not allow)")
        elif other is None or not _same(cursor, other, table):
            found.append(f"{table} ({inserted + changed})")
    return found


def _same(cursor: Cursor, other: Cursor, table: Table) -> bool:
    """Return whether both connections see the same rows; False if they cannot be read."""
    for each in (cursor, other):  # the other connection must not wait for locks of this one
        each.execute(f"SAVEPOINT comparing; SET LOCAL lock_timeout = '{_LOCK_PATIENCE}'")
    try:
        return table_digest(cursor, table) == table_digest(other, table)
    except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.LockNotAvailable):
        return False
    finally:
        for each in (cursor, other):
            each.execute("ROLLBACK TO SAVEPOINT comparing; RELEASE SAVEPOINT comparing")


def find_altered_tables(cursor: Cursor, before: TableStates, compared: Collection[Table]) -> list[str]:
    """Return the tables that this transaction has truncated, rewritten, altered or dropped, each with what it did.

    Args:
        compared: tables that another connection has to read. If a trigger has locked one of them exclusively, that
            connection would wait forever, so the table counts as altered.
    """
    cursor.execute(_LOCKED)
    roots = {oid: root for oid, root in cursor.fetchall() if oid in before}
    if not roots:
        return []
    after = read_table_states(cursor)
    found = []
    for oid in sorted(roots, key=lambda oid: before[oid].table):
        was, now = before[oid], after.get(oid)
        if now is None:
            found.append(f"{was.table} (dropped)")
        elif now.file != was.file:
            found.append(f"{was.table} (emptied by TRUNCATE, or rewritten)")
        elif now != was:
            found.append(f"{was.table} (altered)")
        elif roots[oid] in before and before[roots[oid]].table in compared:
            found.append(f"{was.table} (locked exclusively by a trigger, so that it cannot be compared)")
    return found
