"""Locks of PostgreSQL: advisory locks, so that only one process does a thing, and table locks of a reimport.

An advisory lock has a key that means something to us alone, and ends with its transaction or session, also when the
process is killed (PostgreSQL manual, "Advisory Locks"). A new one is one more `AdvisoryLock` where it is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psycopg2.errors
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import comma
from fm_pipeline.db.table import Table
from fm_pipeline.errors import LockStop

_HOLDERS = """
SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), 'no application name'), a.usename, a.state,
       a.xact_start
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.pid <> ALL(%s) AND l.relation = ANY(%s::regclass[])
  AND l.mode IN ('RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock',
                 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
ORDER BY a.xact_start
"""


@dataclass(frozen=True)
class AdvisoryLock:
    """The key of an advisory lock.

    Attributes:
        name: what it guards, without the prefix `fm_pipeline.`.
        part: guards one part alone, such as one entity; different parts do not exclude each other, nor the whole.
    """

    name: str
    part: str | None = None

    @property
    def key(self) -> sql.Composable:
        """The arguments of PostgreSQL's functions."""
        names = [f"fm_pipeline.{self.name}"] + ([] if self.part is None else [self.part])
        return comma(sql.SQL("hashtext({})").format(sql.Literal(name)) for name in names)


@dataclass(frozen=True)
class NumberedLock:
    """The key of an advisory lock on a row of ours, by a number for its kind and its id."""

    kind: int
    id: int

    @property
    def key(self) -> sql.Composable:
        """The arguments of PostgreSQL's functions."""
        return sql.SQL("{}, {}").format(sql.Literal(self.kind), sql.Literal(self.id))


Lock = AdvisoryLock | NumberedLock
REIMPORT_LOCK = AdvisoryLock("reimport")  # of everybody who writes to Nexus' own tables


def try_lock(
    cursor: Cursor, lock: Lock, *, until: Literal["transaction", "session"] = "transaction", shared: bool = False
) -> bool:
    """Take a lock if nobody holds it; returns whether it was taken.

    Args:
        until: what ends it. A lock of the session outlives a rollback.
        shared: with others that share it, but with nobody who does not.
    """
    name = "pg_try_advisory_xact_lock" if until == "transaction" else "pg_try_advisory_lock"
    function = sql.SQL(f"{name}_shared" if shared else name)
    cursor.execute(sql.SQL("SELECT {}({})").format(function, lock.key))
    return cursor.fetchone() == (True,)


def wait_for_lock(cursor: Cursor, lock: Lock, *, shared: bool = False) -> None:
    """Take a lock until the transaction ends, and wait until it is free.

    Args:
        shared: with others that share it, but with nobody who does not.

    Raises:
        psycopg2.errors.LockNotAvailable: it was not free within the session's `lock_timeout`.
    """
    function = sql.SQL("pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock")
    cursor.execute(sql.SQL("SELECT {}({})").format(function, lock.key))


def acquire_reimport_lock(gate: Connection) -> None:
    """Let no second reimport run until the gate's transaction ends. Independent of Dagster, gone with the connection.

    Raises:
        LockStop: another one runs.
    """
    with gate.cursor() as cursor:
        if not try_lock(cursor, REIMPORT_LOCK):
            raise LockStop(
                "Another reimport, or an import of images, is writing to this database.",
                meaning="This one has changed nothing.",
                remedy="Wait until it has ended; the runs page of Dagster shows it.",
            )


def wait_for_reimport_lock(gate: Connection, timeout_seconds: float) -> None:
    """Take the same lock, and wait for it: for whoever writes for a second and not for minutes.

    Raises:
        LockStop: the other run did not end in time.
    """
    with gate.cursor() as cursor:
        try:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{int(timeout_seconds * 1000)}ms",))
            wait_for_lock(cursor, REIMPORT_LOCK)
        except psycopg2.errors.LockNotAvailable:
            gate.rollback()
            raise LockStop(
                f"A reimport, a restore or another link of images wrote to this database for more than"
                f" {timeout_seconds:g} seconds.",
                meaning="Nothing was written to Nexus.",
                remedy="Start again when it has ended; the runs page of Dagster shows it.",
            ) from None


def lock_tables(cursor: Cursor, tables: Collection[Table], timeout_seconds: float) -> None:
    """Lock the tables in the order given: everybody reads, writers wait (SHARE ROW EXCLUSIVE).

    Row locks that the transaction takes later have the same time-out. Neither statement takes a snapshot: under
    REPEATABLE READ the transaction must see what the writers that it waited for have committed (PostgreSQL manual,
    LOCK, "Notes").

    Raises:
        psycopg2.errors.LockNotAvailable: see `explain_lock_timeouts`.
    """
    cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{int(timeout_seconds * 1000)}ms")))
    cursor.execute(
        sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(comma(table.identifier for table in tables))
    )


@contextmanager
def limit_lock_waits(connection: Connection, timeout_seconds: float) -> Iterator[None]:
    """Limit the waiting of a staging transaction for locks in our own schema.

    Args:
        connection: outside a transaction. It keeps the time-out as long as it is open.

    Raises:
        LockStop: a lock was not free in time; the transaction was rolled back.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", (f"{int(timeout_seconds * 1000)}ms",))
    connection.commit()
    try:
        yield
    except psycopg2.errors.LockNotAvailable:
        connection.rollback()
        raise LockStop(
            f"For more than {timeout_seconds:g} seconds another run has been staging, or somebody has held a table of"
            " the schema fm_pipeline.",
            meaning="What this run would have staged is as it was before. Nexus is unchanged.",
            remedy="Start again when the other run has ended; fm-pipeline status shows it.",
        ) from None


@contextmanager
def explain_lock_timeouts(
    connection: Connection, gate: Connection, tables: Collection[Table], timeout_seconds: float
) -> Iterator[None]:
    """Turn a lock time-out inside the block, of a table or a row, into a LockStop that names the sessions in the way.

    Args:
        connection: whose transaction waits; it is rolled back then.
        gate: the second connection, which can still query.
    """
    try:
        yield
    except psycopg2.errors.LockNotAvailable:
        stop = _lock_stop(connection, gate, tables, timeout_seconds)
        connection.rollback()
        raise stop from None


def _lock_stop(connection: Connection, gate: Connection, tables: Collection[Table], timeout_seconds: float) -> LockStop:
    """The error that says who holds the tables."""
    ours = [connection.info.backend_pid, gate.info.backend_pid]
    with gate.cursor() as cursor:
        names = [table.identifier.as_string(cursor) for table in tables]
        cursor.execute(_HOLDERS, (ours, names))
        holders = [
            f"process {pid} ({application}, user {user}, {state}, since {since:%Y-%m-%d %H:%M:%S} UTC)"
            if since
            else f"process {pid} ({application}, user {user}, {state})"
            for pid, application, user, state, since in cursor.fetchall()
        ]
    return LockStop(
        f"The tables were in use for more than {timeout_seconds:g} seconds by"
        f" {'; '.join(holders) or 'a session that has ended since'}.",
        meaning="The transaction was rolled back; Nexus is unchanged.",
        remedy="Let that session finish or end it, or raise NEXUS_LOCK_TIMEOUT_SECONDS, then start again.",
    )
