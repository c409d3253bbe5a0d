"""Lists of names for statements, and short questions to the database."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.table import Table

# Columns whose JSON `json_populate_record` does not read back as it was: arrays (it starts them all at 1), composite
# types, and types with a cast of their own to json (hstore), which `row_to_json` uses. A domain is what it is based on.
_COLUMNS = """
WITH RECURSIVE typed AS (
    SELECT attnum, attname, atttypid AS type FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT c.attnum, c.attname, d.typbasetype FROM typed c JOIN pg_type d ON d.oid = c.type AND d.typtype = 'd')
SELECT c.attname, CASE WHEN t.oid IN ('json'::regtype, 'jsonb'::regtype) THEN t.typname END,
       t.typcategory IN ('A', 'C') OR EXISTS (
    SELECT FROM pg_cast WHERE castsource = t.oid AND casttarget = 'pg_catalog.json'::regtype AND castfunc <> 0)
FROM typed c JOIN pg_type t ON t.oid = c.type AND t.typtype <> 'd' ORDER BY c.attnum
"""
# The key of the columns that hold JSON's null. Under their own names it is the same as no value at all.
JSON_NULLS = "json null"


def comma(parts: Iterable[sql.Composable]) -> sql.Composed:
    """Return the parts with commas between them."""
    return sql.SQL(", ").join(list(parts))


def column_list(names: Iterable[str], of: str = "") -> sql.Composed:
    """Return names of columns with commas between them.

    Args:
        of: the alias that qualifies each of them; empty for none.
    """
    return comma(sql.Identifier(of, name) if of else sql.Identifier(name) for name in names)


def quoted_name(cursor: Cursor, *parts: str) -> str:
    """Return a qualified name, quoted only where necessary, so that people can read it."""
    cursor.execute(
        "SELECT array_to_string(ARRAY(SELECT quote_ident(part) FROM unnest(%s::text[]) part), '.')", (list(parts),)
    )
    (name,) = cursor.fetchone() or ("",)
    return str(name)


def has_table(cursor: Cursor, name: str) -> bool:
    """Return whether there is such a table.

    Args:
        cursor: of any kind of rows.
        name: qualified, and quoted where it must be, for example `fm_pipeline.plans`.
    """
    with cursor.connection.cursor() as plain:
        plain.execute("SELECT to_regclass(%s) IS NOT NULL", (name,))
        return plain.fetchone() == (True,)


def database_name(cursor: Cursor) -> str:
    """Return the name of the database that the cursor is connected to."""
    cursor.execute("SELECT current_database()")
    (name,) = cursor.fetchone() or ("",)
    return str(name)


def count(cursor: Cursor) -> int:
    """Return the number that the last statement has returned."""
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def row_as_json(cursor: Cursor, table: Table, *, with_nulls: bool = True) -> sql.Composable:
    """Return an expression for the row `t` of a table as JSON; NULL where an outer join finds no row.

    `row_of_json` makes the same row of it.

    Args:
        with_nulls: say in which columns null is JSON's. An earlier version did not.

    Source: PostgreSQL manual, "JSON Functions and Operators": to_json uses a cast to json if the type has one.
    """
    columns = _columns(cursor, table)
    if not any((json and with_nulls) or as_text for _, json, as_text in columns):
        return sql.SQL("row_to_json(t)")
    values: list[sql.Composable] = [
        sql.SQL("t.{0}::text AS {0}" if as_text else "t.{0}").format(sql.Identifier(name))
        for name, _, as_text in columns
    ]
    nulls = [
        sql.SQL("CASE WHEN {}(t.{}) = 'null' THEN {} END").format(
            sql.Identifier(f"{json}_typeof"), sql.Identifier(name), sql.Literal(name)
        )
        for name, json, _ in columns
        if json and with_nulls
    ]
    if nulls:
        values.append(
            sql.SQL("nullif(array_remove(ARRAY[{}]::text[], NULL), '{{}}') AS {}").format(
                comma(nulls), sql.Identifier(JSON_NULLS)
            )
        )
    return sql.SQL("(SELECT row_to_json(r) FROM (SELECT {}) r WHERE NOT t IS NULL)").format(comma(values))


def row_of_json(cursor: Cursor, table: Table, stored: sql.Composable) -> sql.Composable:
    """Return what to select the row of a table from that `row_as_json` has written.

    Args:
        stored: the JSON; where an earlier version wrote it, null is no value in columns of JSON too.
    """
    columns = _columns(cursor, table)
    row = sql.SQL("json_populate_record(NULL::{}, {})").format(table.identifier, stored)
    if not any(json for _, json, _ in columns):
        return row
    values = [
        sql.SQL("CASE WHEN ({}->{})::jsonb ? {} THEN 'null' ELSE r.{name} END AS {name}").format(
            stored, sql.Literal(JSON_NULLS), sql.Literal(name), name=sql.Identifier(name)
        )
        if json
        else sql.Identifier("r", name)
        for name, json, _ in columns
    ]
    return sql.SQL("(SELECT {} FROM {} r)").format(comma(values), row)


def _columns(cursor: Cursor, table: Table) -> list[tuple[str, str | None, bool]]:
    """Return, by column, its name, `json` or `jsonb` if it is one of them, and whether it is written as text."""
    cursor.execute(_COLUMNS, (table.identifier.as_string(cursor),))
    return cursor.fetchall()
