"""The rows that a sync changes, as they were before and after it: written in its transaction, so that it can be undone.

A sync changes few rows, so this takes the place of the full backup that a reimport needs.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.copy import copy_rows
from fm_pipeline.db.queries import row_as_json
from fm_pipeline.db.row_versions import later_than, own_transaction
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.reimport.difference import gone
from fm_pipeline.nexus.reimport.trigger_checks import one_of

ROWS_AT_ONCE = 500  # in memory: a sync that a person has confirmed may change every row
COLUMNS = ("sync_id", "schema_name", "table_name", "row_id", "before", "after")


def store_before_images(
    cursor: Cursor,
    other: Cursor,
    catalogue: Catalogue,
    sync_id: str,
    losing: Iterable[Table],
    changed: Iterable[Table],
) -> int:
    """Store the rows that this transaction has inserted, updated or deleted; return how many.

    Args:
        other: of another connection, which still sees the rows as they were.
        losing: the tables that may lose rows; the temporary tables `gone_<table>` hold the ids.
        changed: further tables with a column `id` whose rows may be updated.
    """
    own, rows = own_transaction(cursor), 0
    losing = list(losing)
    for table in (*losing, *changed):
        row = row_as_json(cursor, table)
        written = sql.SQL("SELECT t.id::text, {}::text FROM {} t WHERE {}").format(
            row, table.identifier, later_than(own)
        )
        if table in losing:
            written += sql.SQL(" UNION ALL SELECT id::text, NULL FROM {}").format(gone(table))
        with cursor.connection.cursor("rows_that_were_written") as reading:
            reading.execute(written)
            while after := dict(reading.fetchmany(ROWS_AT_ONCE)):
                other.execute(
                    sql.SQL("SELECT t.id::text, {}::text FROM {} t WHERE {}").format(
                        row, table.identifier, one_of(catalogue, table, after)
                    )
                )
                before = dict(other.fetchall())
                rows += copy_rows(
                    cursor,
                    "fm_pipeline.sync_changes",
                    COLUMNS,
                    ((sync_id, table.schema, table.name, key, before.get(key), now) for key, now in after.items()),
                )
    return rows
