"""A database that is away for a moment is asked again; one that stays away is an error; a refusal is one at once."""

from __future__ import annotations

import pytest
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.errors import DatabaseError


def one(cursor: Cursor) -> int:
    cursor.execute("SELECT 1")
    return int(cursor.fetchall()[0][0])


@pytest.mark.hard_case(43)
def test_a_lost_connection_is_made_anew_prepared_again_and_the_transaction_repeated(database_url: str) -> None:
    prepared: list[int] = []
    with ReconnectingConnection(database_url, prepare=lambda cursor: prepared.append(one(cursor))) as database:
        attempts: list[int] = []

        def action(cursor: Cursor) -> int:
            attempts.append(1)
            if len(attempts) == 1:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return one(cursor)

        assert database.run(action) == 1
    assert (len(attempts), len(prepared)) == (2, 2)


def test_a_database_that_stays_away_is_an_error_after_the_patience() -> None:
    nobody = "postgresql://nobody:nothing@127.0.0.1:1/nowhere"
    with ReconnectingConnection(nobody, patience_seconds=0.2) as database, pytest.raises(DatabaseError):
        database.run(one)


@pytest.mark.parametrize("statement", ["SELECT * FROM nothing", "SELECT pg_cancel_backend(pg_backend_pid())"])
def test_a_statement_that_is_refused_or_that_somebody_cancels_is_not_repeated(
    database_url: str, statement: str
) -> None:
    attempts: list[int] = []

    def action(cursor: Cursor) -> None:
        attempts.append(1)
        cursor.execute(statement)

    with ReconnectingConnection(database_url, patience_seconds=2) as database:
        with pytest.raises(DatabaseError):
            database.run(action)
        assert database.run(one) == 1
    assert len(attempts) == 1


@pytest.mark.hard_case(43)
def test_the_last_transaction_runs_before_closing_and_does_not_reconnect(
    database_url: str,
) -> None:
    ended: list[int] = []
    with ReconnectingConnection(database_url) as database:
        database.end(lambda cursor: ended.append(one(cursor)))  # none is open yet
        database.run(one)
        database.end(lambda cursor: ended.append(one(cursor)))
        database.run(one)
        database.end(lambda cursor: cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())"))
        database.run(one)
    assert ended == [1]
