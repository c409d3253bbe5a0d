"""Names of PostgreSQL: lists of them in statements, and one for people to read."""

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
