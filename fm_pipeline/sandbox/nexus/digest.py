"""Digests of a whole Nexus database, with which the demo and the tests check that nothing changed."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.digest import Digest, table_digest
from fm_pipeline.nexus.catalogue.schema import Catalogue


def schema_digest(cursor: Cursor, catalogue: Catalogue) -> dict[str, Digest]:
    """Return the digest of every table in the Nexus schema, by table name."""
    return {
        table.name: table_digest(cursor, table, columns)
        for table, columns in sorted(catalogue.columns.items())
        if table.schema == catalogue.schema
    }
