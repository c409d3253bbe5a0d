"""An empty database for a test, on a server that runs as long as the test process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import ClassVar

import psycopg2
import psycopg2.errors
from psycopg2 import sql

from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService

_numbers = itertools.count(1)


# Types whose JSON PostgreSQL does not read back: as hstore is, with a cast to json of its own; and composed of such.
WITH_OWN_JSON = """
CREATE TYPE fm_told AS ENUM ('by post', 'by phone');
CREATE FUNCTION fm_told_as_json(fm_told) RETURNS json IMMUTABLE LANGUAGE sql AS
    $$SELECT json_build_object('told', $1::text)$$;
CREATE CAST (fm_told AS json) WITH FUNCTION fm_told_as_json;
CREATE DOMAIN fm_said AS fm_told;
CREATE DOMAIN fm_heard AS fm_said;
CREATE TYPE fm_call AS (at date, how fm_told)
"""


class DisposablePostgreSQL(PostgreSQLService):
    """The same server, faster: its data survive a killed server, not a power failure; autovacuum takes no locks."""

    options: ClassVar[dict[str, str]] = {
        "fsync": "off",
        "full_page_writes": "off",
        "shared_buffers": "64MB",
        "max_wal_size": "128MB",
        "max_connections": "60",
        "autovacuum": "off",
    }


@contextmanager
def empty_database(server: PostgreSQLService, template: str = "template0") -> Iterator[str]:
    """Create a database, yield its URL, and drop it afterwards with all connections to it.

    Args:
        template: the database to copy.
    """
    name = f"test_{next(_numbers)}"
    create_database(server, name, template)
    try:
        yield server.url(name)
    finally:
        _execute(server, sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@contextmanager
def empty_nexus(server: PostgreSQLService) -> Iterator[str]:
    """The same, with the tables of the application in it, and no rows."""
    with empty_database(server) as url:
        with closing(psycopg2.connect(url)) as connection:
            create_nexus(connection)
        yield url


def create_database(server: PostgreSQLService, name: str, template: str = "template0") -> None:
    """Copy a database that has no connections."""
    plain = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
    try:
        _execute(server, plain + sql.SQL(" strategy file_copy"))  # faster than wal_log; the only strategy before 15
    except psycopg2.errors.SyntaxError:
        _execute(server, plain)


def _execute(server: PostgreSQLService, statement: sql.Composed) -> None:
    connection = psycopg2.connect(server.url("postgres"))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def rows_read(url: str, table: str, action: Callable[[], object]) -> int:
    """Return how many rows of a table of `fm_pipeline`, and parts of its long values, an action reads in its sessions.

    Args:
        action: opens and closes its connections itself.
    """

    def read() -> int:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            # A session that has ended has said what it read.
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            cursor.execute(
                "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_all_tables s"
                " JOIN pg_class c ON s.relid IN (c.oid, c.reltoastrelid) WHERE c.oid = %s::regclass",
                (f"fm_pipeline.{table}",),
            )
            ((number,),) = cursor.fetchall()
            return int(number)

    before = read()
    action()
    return read() - before
