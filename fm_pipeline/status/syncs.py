"""The syncs of a database, for the command and the console: what each did, and what waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fm_pipeline.db.connection import connect
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.reimport.plan_inputs import Inputs
from fm_pipeline.nexus.sync.decisions import Decision


@dataclass(frozen=True)
class RecordedSync:
    """A sync as it was recorded.

    Attributes:
        status: `nothing_new`, `waits`, `committed`.
        confirmation: the words that let it go on, if it waits.
        is_newest: no later sync has taken its place.
    """

    id: str
    run_id: str | None
    requested_by: str
    created_at: datetime
    status: str
    confirmation: str
    report: Mapping[str, Any]
    deletions: Mapping[str, Sequence[str]]
    decisions: list[Decision]
    is_newest: bool


def read_sync(database_url: str, sync_id: str = "") -> RecordedSync:
    """Read a sync.

    Args:
        sync_id: its id; empty for the newest one.

    Raises:
        RequestError: there is none of that id (404).
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('fm_pipeline.syncs') IS NOT NULL")
        row = None
        if cursor.fetchone() == (True,):
            cursor.execute(
                "SELECT id::text, run_id, requested_by, created_at, status, inputs, report, deletions,"
                " number = (SELECT max(number) FROM fm_pipeline.syncs) FROM fm_pipeline.syncs"
                " WHERE id::text = %(id)s OR %(id)s = '' ORDER BY number DESC LIMIT 1",
                {"id": sync_id.strip().lower()},
            )
            row = cursor.fetchone()
        if row is None:
            raise RequestError(
                "This database has no sync of this id." if sync_id else "This database has no sync yet.",
                code=404,
                remedy="fm-pipeline sync makes one.",
            )
        cursor.execute(
            "SELECT entity, nexus_id, column_name, decision, kept, filemaker_key FROM fm_pipeline.sync_decisions"
            " WHERE sync_id = %s ORDER BY entity, nexus_id, column_name",
            (row[0],),
        )
        decisions = [Decision(*values) for values in cursor.fetchall()]
    found_id, run_id, requested_by, created_at, status, inputs, report, deletions, is_newest = row
    words = Inputs.from_dict(inputs).confirmation
    return RecordedSync(
        found_id, run_id, requested_by, created_at, status, words, report, deletions, decisions, is_newest
    )
