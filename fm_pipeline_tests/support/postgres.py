"""An empty database for a test, on a server that lives as long as the test process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import psycopg2
import psycopg2.errors
from psycopg2 import sql

from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService

_numbers = itertools.count(1)


class DisposablePostgreSQL(PostgreSQLService):
    """The same server; its data survive a killed server, not a power cut. Nobody but a test takes locks in it."""

    options: ClassVar[dict[str, str]] = {
        "fsync": "off",
        "full_page_writes": "off",
        "shared_buffers": "64MB",
        "max_connections": "60",
        "autovacuum": "off",
    }


@contextmanager
def empty_database(server: PostgreSQLService, template: str = "template0") -> Iterator[str]:
    """Make a database, give its URL, and drop it afterwards with all connections to it.

    Args:
        template: the database that it is a copy of.
    """
    name = f"test_{next(_numbers)}"
    create_database(server, name, template)
    try:
        yield server.url(name)
    finally:
        _execute(server, sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def create_database(server: PostgreSQLService, name: str, template: str = "template0") -> None:
    """A copy of a database that nobody is connected to."""
    plain = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
    try:
        _execute(server, plain + sql.SQL(" strategy file_copy"))  # faster than by the log, and the only way before 15
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
