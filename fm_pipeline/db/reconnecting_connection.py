"""A database connection that reconnects, and repeats its transaction, when PostgreSQL was away for a while."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import repeat
from typing import Self, TypeVar

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect, redacted, transaction
from fm_pipeline.errors import DatabaseError
from fm_pipeline.retry import retry

T = TypeVar("T")

PATIENCE_SECONDS = 120  # a restart of PostgreSQL, or of its machine
_PAUSE_SECONDS = 0.5
# Connection lost, too many of them, shut down: https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT = ("08", "53", "57P")
_IDLE_TOO_LONG = "25P03"  # this process was suspended within a transaction
_log = logging.getLogger(__name__)


class ReconnectingConnection:
    """One connection, for one caller at a time; others wait.

    Args:
        prepare: called on each new connection, for example to take an advisory lock again.
        give_up: while it returns True, a failure is raised at once.
    """

    def __init__(
        self,
        database_url: str,
        *,
        prepare: Callable[[Cursor], None] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._url, self._prepare = database_url, prepare
        self._patience, self._give_up = patience_seconds, give_up
        self._busy = threading.RLock()
        self._open = ExitStack()
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, action: Callable[[Cursor], T]) -> T:
        """Run a transaction, and run it again if the connection was lost; so it must be idempotent.

        Raises:
            DatabaseError: PostgreSQL refused it, or was away for longer than the patience.
        """

        def attempt() -> T:
            with redacted():
                return self._transaction(action)

        def is_transient(error: Exception) -> bool:
            if not isinstance(error, DatabaseError):
                return False
            passing = (error.sqlstate or "08").startswith(_TRANSIENT) or error.sqlstate == _IDLE_TOO_LONG
            return passing and not self._give_up()

        def reconnect(error: Exception, _attempt: int, _pause: float) -> None:
            _log.warning("The database is away; the transaction is repeated. %s", getattr(error, "what", error))
            self.close()

        with self._busy:
            return retry(
                attempt,
                is_transient=is_transient,
                pauses=repeat(_PAUSE_SECONDS),
                timeout_seconds=self._patience,
                before_retry=reconnect,
            )

    def end(self, action: Callable[[Cursor], object]) -> None:
        """Run a last transaction if the connection is open, once; a failure is ignored. Then close the connection."""
        try:
            with suppress(DatabaseError), self._busy:
                if self._connection is not None and not self._connection.closed:
                    with redacted():
                        self._transaction(action)
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; the next `run` opens another one."""
        self._connection = None
        self._open.close()

    def _transaction(self, action: Callable[[Cursor], T]) -> T:
        if self._connection is None or self._connection.closed:
            connection = self._open.enter_context(connect(self._url))
            if self._prepare:
                with connection.cursor() as cursor:
                    self._prepare(cursor)
                connection.commit()
            self._connection = connection
        with transaction(self._connection) as cursor:
            return action(cursor)
