"""Lists of names for statements, and short questions to the database."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor


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
