"""Whether rows were written since a moment, told by their versions and not by their content: ten times as fast.

PostgreSQL never changes a row in place. What is written is a new version, and it carries the id of the transaction
that wrote it (`xmin`). So if a table has as many rows as before and no version of a later transaction, it has the same
versions, and they hold what they held. Where an id seems late and is not (a transaction that began earlier and is
still at work somewhere on the server; a version from before the ids wrapped around), the answer is "perhaps written",
which only costs the comparison of contents.

Source: PostgreSQL manual, "System Columns" and "Transaction ID and Snapshot Information Functions"; `age` takes the
wrap-around into account.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.table import Table

# The columns of each table by number and type, with those of its partitions: a column that was dropped and made again,
# or another partition in the place of one, changes what rows say and no version of a row.
_SHAPES = """
WITH RECURSIVE part AS (
    SELECT n, name::regclass::oid AS oid FROM unnest(%s::text[]) WITH ORDINALITY AS named (name, n)
    UNION ALL
    SELECT part.n, i.inhrelid FROM part JOIN pg_inherits i ON i.inhparent = part.oid
)
SELECT n, md5(string_agg(concat_ws(' ', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod), ','
                         ORDER BY a.attrelid, a.attnum))
FROM part JOIN pg_attribute a ON a.attrelid = part.oid AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY n ORDER BY n
"""


class Versions(NamedTuple):
    """Rows of a table, and how many of them were perhaps written since."""

    rows: int
    later: int


def read_horizon(cursor: Cursor) -> str:
    """The transaction id below which everything was over when the snapshot was taken; inside a transaction."""
    cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text")
    return str((cursor.fetchone() or ("",))[0])


def own_transaction(cursor: Cursor) -> str:
    """The id of this transaction, which every row that it has written carries, or a later one (of a savepoint)."""
    cursor.execute("SELECT pg_current_xact_id()::xid::text")
    return str((cursor.fetchone() or ("",))[0])


def later_than(transaction: str) -> sql.Composable:
    """Condition: this version of the row was written by that transaction or a later one."""
    return sql.SQL("age(xmin) <= (SELECT age({}::xid))").format(sql.Literal(transaction))


def read_versions(cursor: Cursor, tables: Sequence[Table], since: str) -> dict[Table, Versions]:
    """Count the rows, in one statement.

    Args:
        since: a transaction id.
    """
    counts = [
        sql.SQL("SELECT {}, count(*), count(*) FILTER (WHERE {}) FROM {}").format(
            sql.Literal(number), later_than(since), table.identifier
        )
        for number, table in enumerate(tables)
    ]
    cursor.execute(sql.SQL(" UNION ALL ").join(counts))
    return {tables[number]: Versions(rows, later) for number, rows, later in cursor.fetchall()}


def read_shapes(cursor: Cursor, tables: Sequence[Table]) -> dict[Table, str]:
    """What the tables' columns are, with their partitions; comparable within one database."""
    cursor.execute(_SHAPES, ([table.identifier.as_string(cursor) for table in tables],))
    return {tables[number - 1]: shape for number, shape in cursor.fetchall()}
