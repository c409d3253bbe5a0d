"""COMMIT: what the server refuses is told; if the connection is lost, the server is asked how the transaction ended."""

from __future__ import annotations

import psycopg2
import psycopg2.errors
import pytest

from fm_pipeline.db.commit import commit, was_committed
from fm_pipeline.db.connection import connect
from fm_pipeline.errors import DatabaseError


def test_a_transaction_that_does_not_end_is_not_waited_for_without_limit(database_url: str) -> None:
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text")
        ((transaction,),) = cursor.fetchall()
        with pytest.raises(DatabaseError, match=f"does not say how the transaction ended.*'{transaction}'::xid8"):
            was_committed(database_url, transaction, patience_seconds=0)
        connection.rollback()
        assert not was_committed(database_url, transaction)


def test_what_a_deferred_trigger_refuses_at_commit_is_no_lost_connection(database_url: str) -> None:
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE notes (id int); CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'no room' USING ERRCODE = 'disk_full'; END $$;"
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION refuse(); INSERT INTO notes VALUES (1)"
        )
        with pytest.raises(psycopg2.errors.DiskFull):
            commit(connection, database_url)
