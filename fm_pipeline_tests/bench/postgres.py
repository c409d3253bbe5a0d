"""An empty database for a test, on a server that lives as long as the test process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import psycopg2
from psycopg2 import sql

from fm_pipeline.sandbox.stack.postgresql import PostgreSQL

_numbers = itertools.count(1)


class DisposablePostgreSQL(PostgreSQL):
    """The same server; its data survive a killed server, not a power cut."""

    options: ClassVar[dict[str, str]] = {
        "fsync": "off",
        "full_page_writes": "off",
        "shared_buffers": "64MB",
        "max_connections": "60",
    }


@contextmanager
def empty_database(server: PostgreSQL) -> Iterator[str]:
    """Make a database, give its URL, and drop it afterwards with all connections to it."""
    name = sql.Identifier(f"test_{next(_numbers)}")
    _make(server, name)
    try:
        yield server.url(name.strings[0])
    finally:
        _execute(server, sql.SQL("drop database {} with (force)").format(name))


def _make(server: PostgreSQL, name: sql.Identifier) -> None:
    plain = sql.SQL("create database {} template template0").format(name)
    try:
        _execute(server, plain + sql.SQL(" strategy file_copy"))  # faster than by the log, and the only way before 15
    except psycopg2.errors.SyntaxError:
        _execute(server, plain)


def _execute(server: PostgreSQL, statement: sql.Composed) -> None:
    connection = psycopg2.connect(server.url("postgres"))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
