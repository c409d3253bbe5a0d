"""Creates the reference Nexus database: the empty tables of `schema.sql`, in any schema."""

from __future__ import annotations

from importlib.resources import files

from psycopg2 import sql
from psycopg2.extensions import connection as Connection


def create_nexus(connection: Connection, schema: str = "public") -> None:
    """Create every table of the reference Nexus database, and commit.

    Args:
        connection: psycopg2 connection of a role that may create schemas and tables.
        schema: where the tables go; created when it does not exist.

    Raises:
        psycopg2.errors.DuplicateTable: the schema holds a Nexus database already; nothing is changed.
    """
    tables = files("fm_pipeline.sandbox.nexus").joinpath("schema.sql").read_text(encoding="utf-8")
    name = sql.Identifier(schema)
    with connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        cursor.execute(sql.SQL("SET LOCAL search_path TO {}").format(name))
        cursor.execute(tables)
