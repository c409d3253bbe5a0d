"""A connection that is lost at COMMIT: the server is asked what became of the transaction, but not for ever."""

from __future__ import annotations

import pytest

from fm_pipeline.db.commit import was_committed
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
