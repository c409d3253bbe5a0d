"""Delete the rows that a reimport takes away: patients, and what belongs to them. `difference.py` finds which."""

from __future__ import annotations

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.nexus.reimport.difference import gone
from fm_pipeline.nexus.table_policy import Policy


def delete_rows(cursor: Cursor, policy: Policy) -> dict[str, int]:
    """Delete the rows to be deleted, children before parents; return how many, by table."""
    deleted = {}
    for table in reversed(policy.tables_losing_rows):
        cursor.execute(sql.SQL("DELETE FROM {} t USING {} g WHERE t.id = g.id").format(table.identifier, gone(table)))
        deleted[table.name] = cursor.rowcount
    return deleted
