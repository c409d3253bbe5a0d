"""Digests of tables: equal content gives an equal digest, whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.nexus.catalogue import Catalogue, Table


class Digest(NamedTuple):
    """Number of rows and the sum of their 64-bit hashes (as text: it is larger than 64 bits)."""

    rows: int
    hash: str


def table_digest(cursor: Cursor, table: Table, columns: Collection[str], *, without: Collection[str] = ()) -> Digest:
    """Digest of a table's rows.

    Args:
        columns: of the table; sorted by name, so that their order in the table does not count.
        without: columns that are left out.
    """
    named = [sql.Identifier(name) for name in sorted(columns) if name not in without]
    cursor.execute(
        sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)), 0)::text FROM {}").format(
            sql.SQL(", ").join(named), table.identifier
        )
    )
    rows, digest = cursor.fetchone() or (0, "0")
    return Digest(rows, digest)


def schema_digest(cursor: Cursor, catalogue: Catalogue) -> dict[str, Digest]:
    """Digests of every table in the Nexus schema, by table name."""
    return {
        table.name: table_digest(cursor, table, columns)
        for table, columns in sorted(catalogue.columns.items())
        if table.schema == catalogue.schema
    }
