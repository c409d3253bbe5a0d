"""COMMIT, when the connection may be lost exactly then: the database is asked what became of it, never guessed.

`pg_xact_status` tells it for every transaction that has an id (PostgreSQL manual, "Transaction ID and Snapshot
Information Functions").
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import psycopg2
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.errors import DatabaseError

_log = logging.getLogger(__name__)
_CANCELS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C; Dagster's "Terminate" arrives as either


@contextmanager
def too_late_to_cancel() -> Iterator[None]:
    """From COMMIT to the end of the block the first cancel is dropped, a second one obeyed.

    What PostgreSQL is committing cannot be called back. Obeyed, the cancel would leave a reimport that was carried out
    and is on record as cancelled, without its report. Where nothing is raised for a signal, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():  # only there a signal is raised
        yield
        return
    before = {number: handler for number in _CANCELS if callable(handler := signal.getsignal(number))}

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def drop(_number: int, _frame: FrameType | None) -> None:
        give_back()
        _log.warning("The cancel came too late: the transaction was being committed, and is carried out.")

    for number in before:
        signal.signal(number, drop)
    try:
        yield
    finally:
        give_back()


def commit(connection: Connection, url: str) -> None:
    """Commit a transaction that has written something.

    Args:
        url: of the same database, for asking.

    Raises:
        DatabaseError: the connection was lost and the transaction was not committed, or nobody can know yet.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text")
        (transaction,) = cursor.fetchone() or ("0",)
    try:
        connection.commit()
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        if not was_committed(url, transaction):
            raise DatabaseError(
                "The connection to PostgreSQL was lost at COMMIT.",
                sqlstate="08006",
                meaning="The database was asked: the transaction was not committed, Nexus is unchanged.",
                remedy="Find out why the server ended the connection, then start again.",
            ) from None


def was_committed(url: str, transaction: str, *, patience_seconds: float = 120) -> bool:
    """Whether a transaction was committed; waits for a server that is starting again or still at it.

    Args:
        transaction: as `pg_current_xact_id()` gave it.

    Raises:
        DatabaseError: the server stays away, so that nobody can know yet.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with connect(url) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_xact_status(%s::xid8)", (transaction,))
                row = cursor.fetchone()
                if row and row[0] != "in progress":
                    return bool(row[0] == "committed")
        except DatabaseError:
            if time.monotonic() > deadline:
                raise DatabaseError(
                    "The connection to PostgreSQL was lost at COMMIT and the server does not come back.",
                    sqlstate="08007",
                    meaning="Nexus is either as before or completely reimported, never between.",
                    remedy=f"When the server runs again, ask it: SELECT pg_xact_status('{transaction}'::xid8).",
                ) from None
        time.sleep(1)
