"""A database connection that outlasts a database which is away for a while: what is asked of it is asked again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Self, TypeVar

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect, redacted
from fm_pipeline.errors import DatabaseError

T = TypeVar("T")

PATIENCE_SECONDS = 120  # a restart of PostgreSQL, or of its machine
_PAUSE_SECONDS = 0.5
# Connection lost, too many of them, shut down: https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING = ("08", "53", "57")


class LastingConnection:
    """One connection, for one caller at a time; others wait.

    Args:
        prepare: carried out on each new connection, for example to take an advisory lock again.
        give_up: when it says so, a failure is raised at once.
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
        """Carry out a transaction, again if the connection was lost; so it must come to the same if done twice.

        Raises:
            DatabaseError: PostgreSQL said no, or was away for longer than the patience.
        """
        begun = time.monotonic()
        with self._busy:
            while True:
                try:
                    with redacted():
                        return self._transaction(action)
                except DatabaseError as error:
                    passing = (error.sqlstate or "08")[:2] in _PASSING
                    if not passing or self._give_up() or time.monotonic() - begun > self._patience:
                        raise
                    logging.getLogger(__name__).warning("The database is away; it is asked again. %s", error.what)
                    self.close()
                    time.sleep(_PAUSE_SECONDS)

    def end(self, action: Callable[[Cursor], object]) -> None:
        """Carry out a last transaction if the connection is open, once, whether it succeeds or not; then close it."""
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
        try:
            with self._connection.cursor() as cursor:
                result = action(cursor)
            self._connection.commit()
            return result
        except BaseException:
            if not self._connection.closed:
                self._connection.rollback()
            raise
