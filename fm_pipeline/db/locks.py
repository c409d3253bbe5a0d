"""Locks: one reimport at a time, and no save of a user that would be lost.

SHARE ROW EXCLUSIVE lets everybody read and makes writers wait (PostgreSQL manual, "Explicit Locking").
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import psycopg2.errors
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

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


def take_reimport_lock(gate: Connection) -> None:
    """One reimport at a time, until the gate's transaction ends; independent of Dagster, gone with the connection.

    Raises:
        LockStop: another one runs.
    """
    with gate.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('fm_pipeline.reimport'))")
        row = cursor.fetchone()
    if not (row and row[0]):
        raise LockStop(
            "Another reimport, or an import of images, is writing to this database.",
            meaning="This one has changed nothing.",
            remedy="Wait until it has ended; the runs page of Dagster shows it.",
        )


def wait_for_reimport_lock(gate: Connection, timeout_seconds: float) -> None:
    """The same lock for whoever writes for a second and not for minutes: it waits for its turn.

    Raises:
        LockStop: the other one did not end in time.
    """
    with gate.cursor() as cursor:
        try:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{int(timeout_seconds * 1000)}ms",))
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('fm_pipeline.reimport'))")
        except psycopg2.errors.LockNotAvailable:
            gate.rollback()
            raise LockStop(
                f"A reimport, a restore or another link of images wrote to this database for more than"
                f" {timeout_seconds:g} seconds.",
                meaning="Nothing was written to Nexus.",
                remedy="Start again when it has ended; the runs page of Dagster shows it.",
            ) from None


def lock_tables(cursor: Cursor, tables: Collection[Table], timeout_seconds: float) -> None:
    """Lock the tables in the order given; row locks that the transaction takes later obey the same time-out.

    Both statements are such that they take no snapshot: under REPEATABLE READ the transaction must see what the
    writers that it waited for have committed (PostgreSQL manual, LOCK, "Notes").

    Raises:
        psycopg2.errors.LockNotAvailable: see `explain_lock_timeouts`.
    """
    cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{int(timeout_seconds * 1000)}ms")))
    cursor.execute(
        sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(
            sql.SQL(", ").join(table.identifier for table in tables)
        )
    )


@contextmanager
def bounded_waits(connection: Connection, timeout_seconds: float) -> Iterator[None]:
    """For staging: whatever is locked in our own schema is waited for so long, and then it is a LockStop.

    Args:
        connection: outside a transaction; it keeps the time-out for its life. Its transaction is rolled back.
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
    """A lock that is not had in time, of a table or later of a row, is a LockStop that says who holds it.

    Args:
        connection: whose transaction waits; it is rolled back then.
        gate: the second connection, which can still ask.
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
