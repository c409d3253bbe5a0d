"""A server that holds the connection and sends nothing is an error; a long statement is none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Self
from urllib.parse import urlsplit

import psycopg
import psycopg2
import psycopg2.extensions
import pytest

from fm_pipeline.db import stalled_connections
from fm_pipeline.db.connection import connect
from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.errors import DatabaseError
from fm_pipeline.status.overview import read_overview
from fm_pipeline_tests.support.proxies.proxy import SilentProxy, silent_proxy

SOON = {"BUSY_SECONDS": 0.05, "ANSWER_SECONDS": 0.3, "IDLE_SECONDS": 0.2}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The connections are looked at often, and with little patience."""
    for name, seconds in SOON.items():
        monkeypatch.setattr(stalled_connections, name, seconds)
    over = threading.Event()

    def look_often() -> None:
        while not over.wait(0.02):
            stalled_connections.look()

    looking = threading.Thread(target=look_often)
    looking.start()
    yield
    over.set()
    looking.join()


@pytest.fixture
def proxy(migrated_url: str) -> Iterator[SilentProxy]:
    with silent_proxy(migrated_url) as running:
        yield running


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("others_too", [True, False], ids=["the whole server", "this connection only"])
def test_a_server_that_falls_silent_ends_the_statement_with_an_error(proxy: SilentProxy, others_too: bool) -> None:
    with pytest.raises(DatabaseError, match="has stopped answering"):
        _fallen_silent(proxy, others_too=others_too)


def _fallen_silent(proxy: SilentProxy, *, others_too: bool) -> None:
    with connect(proxy.url) as connection:
        proxy.fall_silent(new_ones_too=others_too)
        connection.cursor().execute("SELECT 1")


class ClosedMeanwhile:
    """A connection of psycopg that is closed between two questions about it."""

    closed = False
    transaction_status = psycopg2.extensions.TRANSACTION_STATUS_ACTIVE

    @property
    def info(self) -> Self:
        return self

    @property
    def backend_pid(self) -> int:
        return self.fileno()

    def fileno(self) -> int:
        raise psycopg.OperationalError("the connection is closed")


@pytest.mark.usefixtures("soon")
def test_a_connection_that_is_closed_while_it_is_looked_at_is_no_obstacle_to_the_others(proxy: SilentProxy) -> None:
    closed = ClosedMeanwhile()
    stalled_connections.watch(closed, {"host": "another"})
    with pytest.raises(DatabaseError, match="has stopped answering"):
        _fallen_silent(proxy, others_too=True)


@pytest.mark.usefixtures("soon")
def test_a_server_that_falls_silent_in_a_copy_ends_it(proxy: SilentProxy) -> None:
    class RowsWithoutEnd:
        def read(self, size: int) -> bytes:
            proxy.fall_silent(new_ones_too=True)
            return b"1\n" * (size // 2)

    with pytest.raises(DatabaseError, match="has stopped answering"):
        _copied(proxy.url, RowsWithoutEnd())


def _copied(url: str, rows: object) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE numbers (number int)")
        cursor.copy_expert("COPY numbers FROM STDIN", rows)  # type: ignore[arg-type]  # only read() is called


@pytest.mark.usefixtures("soon")
def test_a_server_that_is_silent_after_each_login_is_an_error_of_the_status(proxy: SilentProxy) -> None:
    proxy.fall_silent(new_ones_too=True)
    with pytest.raises(DatabaseError, match="has stopped answering"):
        read_overview(proxy.url)


@pytest.mark.usefixtures("soon")
def test_a_transaction_is_repeated_when_the_connection_has_fallen_silent(proxy: SilentProxy) -> None:
    with ReconnectingConnection(proxy.url) as database:
        database.run(lambda cursor: cursor.execute("SELECT 1"))
        proxy.fall_silent(new_ones_too=False)
        database.run(lambda cursor: cursor.execute("SELECT 1"))


@pytest.mark.usefixtures("soon")
def test_a_statement_lasts_as_long_as_the_server_works_on_it(database_url: str) -> None:
    class SlowRows:
        left = 2

        def read(self, _size: int) -> bytes:
            with connect(database_url) as other:
                other.cursor().execute("SELECT pg_sleep(0.4)")
            self.left -= 1
            return b"1\n" if self.left else b""

    _copied(database_url, SlowRows())


@pytest.mark.usefixtures("soon")
def test_a_server_that_refuses_the_second_connection_has_answered(database_url: str) -> None:
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS single; CREATE ROLE single LOGIN PASSWORD 'weak' CONNECTION LIMIT 1")
    parts = urlsplit(database_url)
    with connect(parts._replace(netloc=f"single:weak@{parts.hostname}:{parts.port}").geturl()) as connection:
        connection.cursor().execute("SELECT pg_sleep(0.8)")
