"""Short questions to PostgreSQL: is there such a table, which database is this, what is the number."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor


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
