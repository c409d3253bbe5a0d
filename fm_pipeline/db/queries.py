"""Lists of names for statements, and short questions to the database."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.table import Table

# Columns of a type with a cast of its own to json (hstore), and of arrays and domains of such a type. `row_to_json`
# uses the cast, and `json_populate_record` cannot read what it gives.
_OWN_JSON = """
SELECT a.attname, EXISTS (
    SELECT FROM pg_cast c WHERE c.castsource IN (t.oid, t.typelem, t.typbasetype)
    AND c.casttarget = 'pg_catalog.json'::regtype AND c.castfunc <> 0)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


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


def row_as_json(cursor: Cursor, table: Table) -> sql.Composable:
    """Return an expression for the row `t` of a table as JSON; NULL where an outer join finds no row.

    `json_populate_record(NULL::table, ...)` makes the same row of it.

    Source: PostgreSQL manual, "JSON Functions and Operators": to_json uses a cast to json if the type has one.
    """
    cursor.execute(_OWN_JSON, (table.identifier.as_string(cursor),))
    columns = cursor.fetchall()
    if not any(own for _, own in columns):
        return sql.SQL("row_to_json(t)")
    values = [sql.SQL("t.{0}::text AS {0}" if own else "t.{0}").format(sql.Identifier(name)) for name, own in columns]
    return sql.SQL("(SELECT row_to_json(r) FROM (SELECT {}) r WHERE NOT t IS NULL)").format(comma(values))
