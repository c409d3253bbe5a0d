"""Names of PostgreSQL for people to read."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor


def quoted_name(cursor: Cursor, *parts: str) -> str:
    """Return a qualified name, quoted only where necessary, so that people can read it."""
    cursor.execute(
        "SELECT array_to_string(ARRAY(SELECT quote_ident(part) FROM unnest(%s::text[]) part), '.')", (list(parts),)
    )
    (name,) = cursor.fetchone() or ("",)
    return str(name)
