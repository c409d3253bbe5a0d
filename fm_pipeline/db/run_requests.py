"""Who asked for a run of Dagster: recorded by the console when the run is queued, read by the run."""

from __future__ import annotations

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table


def record_run_request(database_url: str, run_id: str, actor: str) -> None:
    """Record it, committed at once. A run is recorded once; a second record is refused by the primary key.

    Args:
        actor: the account of a session or token.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO fm_pipeline.run_requests (run_id, actor) VALUES (%s, %s)", (run_id, actor))
        connection.commit()


def run_requester(database_url: str, run_id: str) -> str | None:
    """Return the account that asked for a run; None if it was not started from the console.

    A database that is new to the pipeline has no requests.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.run_requests"):
            return None
        cursor.execute("SELECT actor FROM fm_pipeline.run_requests WHERE run_id = %s", (run_id,))
        row = cursor.fetchone()
        return str(row[0]) if row else None
