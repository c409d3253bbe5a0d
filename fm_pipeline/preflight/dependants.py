"""Check what depends on the tables that a reimport writes: keys without an index, triggers, row security, references
without a constraint. Nothing is changed. Some of it slows a reimport down, some hides rows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.privileges import missing_privileges
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.reimport.soft_references import (
    list_json_references,
    list_soft_references,
    list_unread_references,
)
from fm_pipeline.nexus.table_names import IMAGES, SYSTEM_CONFIGURATION
from fm_pipeline.nexus.table_policy import Policy
from fm_pipeline.preflight.finding import Finding, FindingBuilder

# Rows per second of a sequential scan on one core: a rough estimate, to distinguish seconds from hours.
ROWS_A_SECOND = 5_000_000

_WITHOUT_INDEX = """
SELECT c.relname, greatest(c.reltuples, 0)::bigint
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.conrelid = %s::regclass AND k.conname = %s
  AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                  AND i.indkey[0] = k.conkey[1])
"""
_TRIGGERS = """
SELECT t.tgname, t.tgrelid::regclass::text FROM pg_trigger t
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgrelid = ANY(%s::regclass[]) ORDER BY 2, 1
"""
_ROW_SECURITY = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.oid = ANY(%s::regclass[]) AND row_security_active(c.oid) ORDER BY 1
"""


def check_dependants(
    cursor: Cursor, policy: Policy, tables: Sequence[Table], build: FindingBuilder
) -> Iterator[Finding]:
    """Check everything that depends on the tables.

    Args:
        tables: those that a reimport may write; the role can read Django's content types.
    """
    names = [table.identifier.as_string(cursor) for table in tables]
    others = [str(table) for table in tables if table not in policy.tables_losing_rows]
    yield build.ok("dependants", f"{', '.join(others)} point to rows that may go, or are relinked")
    yield from _keys_without_index(cursor, policy, build)
    yield from _triggers(cursor, names, build)
    yield from _row_security(cursor, policy, tables, build)
    yield from _generic_references(policy, build)
    yield from _soft_references(cursor, policy, build)


def _keys_without_index(cursor: Cursor, policy: Policy, build: FindingBuilder) -> Iterator[Finding]:
    slow = 0
    keys = [key for table in policy.tables_losing_rows for key in policy.catalogue.foreign_keys_to(table)]
    for key in keys:
        cursor.execute(_WITHOUT_INDEX, (key.table.identifier.as_string(cursor), key.name))
        if row := cursor.fetchone():
            slow += 1
            seconds = row[1] * 1000 / ROWS_A_SECOND
            yield build.violation(
                "nexus_key_without_index",
                f"{key.table}.{key.columns[0]}",
                f"refers to {key.references}; about {row[1]:,} rows are read for each row that goes, which is about"
                f" {seconds:,.1f} s for every 1,000",
            )
    if not slow:
        yield build.ok("foreign keys", f"all {len(keys)} that refer to rows which may go have an index")


def _triggers(cursor: Cursor, names: Sequence[str], build: FindingBuilder) -> Iterator[Finding]:
    cursor.execute(_TRIGGERS, (list(names),))
    rows = cursor.fetchall()
    for trigger, table in rows:
        yield build.violation("nexus_trigger", f"table {table}", f"trigger {trigger}")
    if not rows:
        yield build.ok("triggers", f"none on the {len(names)} tables that a reimport may write")


def _row_security(cursor: Cursor, policy: Policy, tables: Sequence[Table], build: FindingBuilder) -> Iterator[Finding]:
    """Check these tables and those that a reimport or a backup only reads."""
    catalogue = policy.catalogue
    read = {*tables, *catalogue.referred_to_by(tables)}
    read |= {catalogue.table(name) for name in (*SYSTEM_CONFIGURATION, IMAGES)} & catalogue.columns.keys()
    cursor.execute(_ROW_SECURITY, ([table.identifier.as_string(cursor) for table in read],))
    rows = cursor.fetchall()
    for (table,) in rows:
        yield build.violation("nexus_row_security", f"table {table}", "row security holds for this role")
    if not rows:
        yield build.ok("row security", "hides nothing from this role")


def _generic_references(policy: Policy, build: FindingBuilder) -> Iterator[Finding]:
    generic = ", ".join(dict.fromkeys(str(key.table) for key in policy.followed_keys))
    yield build.ok("generic references", f"followed in {generic}" if generic else "none")


def _soft_references(cursor: Cursor, policy: Policy, build: FindingBuilder) -> Iterator[Finding]:
    """Report columns with ids but without a foreign key. For ids inside JSON only the columns are named."""
    for (table, column), targets in list_soft_references(cursor, policy).items():
        holds = f"holds ids of {' and '.join(targets)}" if targets else "is named as a reference, and holds none"
        lacks = ""
        if missing_privileges(cursor, {table: {"UPDATE"}}):
            lacks = f"; the role lacks UPDATE on {table}, which a reimport needs once patients' rows were merged"
        yield build.violation("nexus_soft_reference", f"{table}.{column}", f"{holds}; no foreign key guards it{lacks}")
    for table, column in list_unread_references(cursor, policy):
        unread = "is named as a reference, and the role may not read all rows: a reimport does not follow it"
        yield build.violation("nexus_soft_reference", f"{table}.{column}", unread)
    if json := list_json_references(cursor, policy):
        names = ", ".join(f"{table}.{column}" for table, column in json)
        yield build.ok("ids inside JSON and arrays", f"never followed: {names} hold ids of patients")
