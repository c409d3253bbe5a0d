"""COMMIT, also when the connection is lost at that moment: the server is then asked whether it was carried out.

`pg_xact_status` knows it of every transaction that has an id (PostgreSQL manual, "Transaction ID and Snapshot
Information Functions").
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from types import FrameType

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.errors import DatabaseError
from fm_pipeline.retry import retry

_log = logging.getLogger(__name__)
_POLL_SECONDS = 1
_CANCELS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C; Dagster's "Terminate" arrives as either


@contextmanager
def ignore_first_cancel() -> Iterator[None]:
    """Ignore the first cancel (SIGINT, SIGTERM) inside the block; a second one is obeyed.

    For the time of COMMIT, which cannot be called back. Obeyed, the cancel would leave a reimport that was committed
    and is on record as cancelled, without its report. Outside the main thread, where no signal is raised, this does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: handler for number in _CANCELS if callable(handler := signal.getsignal(number))}

    def restore_handlers() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def ignore_once(_number: int, _frame: FrameType | None) -> None:
        restore_handlers()
        _log.warning("The cancel came too late: the transaction was being committed, and is carried out.")

    for number in handlers:
        signal.signal(number, ignore_once)
    try:
        yield
    finally:
        restore_handlers()


def commit_without_waiting(cursor: Cursor) -> None:
    """Let COMMIT of this transaction not wait for the disk. For what FileMaker and Nexus can give again.

    If the server crashes, it loses the last such transactions, and none before them: one that waits, like that of a
    reimport, brings everything that was committed before it to the disk.

    Source: PostgreSQL manual, "Asynchronous Commit".
    """
    cursor.execute("SET LOCAL synchronous_commit = off")


def commit(connection: Connection, url: str) -> None:
    """Commit a transaction that has written something.

    Args:
        url: of the same database, for a second connection if this one is lost.

    Raises:
        psycopg2.Error: a deferred constraint or trigger refused it; the transaction was rolled back.
        DatabaseError: the connection was lost, and the transaction was not committed or its state is not known yet.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text")
        (transaction,) = cursor.fetchone() or ("0",)
    try:
        connection.commit()
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        if error.pgcode and not connection.closed:
            raise  # the server has refused it, and says why
        if not was_committed(url, transaction):
            raise DatabaseError(
                "The connection to PostgreSQL was lost at COMMIT.",
                sqlstate="08006",
                meaning="The server says that the transaction was not committed; Nexus is unchanged.",
                remedy="Find out why the server ended the connection, then start again.",
            ) from None


def was_committed(url: str, transaction: str, *, patience_seconds: float = 120) -> bool:
    """Return whether a transaction was committed; waits while the server restarts or still works on it.

    Args:
        transaction: as `pg_current_xact_id()` returned it.
        patience_seconds: how long the server may take to decide. It notices a lost client after a minute.

    Raises:
        DatabaseError: the server did not decide in time, so that the state is not known yet.
    """
    try:
        return retry(
            lambda: _is_committed(url, transaction),
            is_transient=lambda error: isinstance(error, DatabaseError),
            pauses=repeat(_POLL_SECONDS),
            timeout_seconds=patience_seconds,
        )
    except DatabaseError:
        raise DatabaseError(
            "The connection to PostgreSQL was lost at COMMIT, and the server does not say how the transaction ended.",
            sqlstate="08007",
            meaning="Either all changes of the transaction were made or none, never a part.",
            remedy=f"Ask the server until it says committed or aborted: SELECT pg_xact_status('{transaction}'::xid8).",
        ) from None


def _is_committed(url: str, transaction: str) -> bool:
    """Ask once.

    Raises:
        DatabaseError: the server does not answer, or the transaction has not ended.
    """
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_xact_status(%s::xid8)", (transaction,))
        (status,) = cursor.fetchone() or (None,)
    if status not in ("committed", "aborted"):
        raise DatabaseError("The transaction has not ended.")
    return bool(status == "committed")
