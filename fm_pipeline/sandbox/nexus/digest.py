"""Digests of a whole Nexus database, by which the demo and the tests see that nothing changed."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.digest import Digest, table_digest
from fm_pipeline.nexus.catalogue.schema import Catalogue


def schema_digest(cursor: Cursor, catalogue: Catalogue) -> dict[str, Digest]:
    """Digests of every table in the Nexus schema, by table name."""
    return {
        table.name: table_digest(cursor, table, columns)
        for table, columns in sorted(catalogue.columns.items())
        if table.schema == catalogue.schema
    }
