"""The syncs of a database, for the command and the console: what each did, and what waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport.plan_inputs import Inputs
from fm_pipeline.nexus.staged_registry import read_registry
from fm_pipeline.nexus.sync.decisions import Decision
from fm_pipeline.nexus.sync.syncs import last_committed
from fm_pipeline.nexus.sync.undo import changed_tables, rows_saved_since
from fm_pipeline.nexus.table_policy import make_full_policy
from fm_pipeline.nexus.undoing_restores import Restore, UndoneBy, read_restores
from fm_pipeline.settings import Settings


@dataclass(frozen=True)
class RecordedSync:
    """A sync as it was recorded.

    Attributes:
        status: `nothing_new`, `waits`, `committed`.
        confirmation: the words to type, so that a sync that waits goes on, or is undone.
        is_newest: no later sync has taken its place.
        undone_at: when somebody undid it; None if nobody has, or if a restore has brought it back or undone it since.
        undone_by: the restore that has undone it; None if none has.
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
    undone_at: datetime | None = None
    undone_by: Restore | None = None


@dataclass(frozen=True)
class SyncOfRun:
    """How the sync of a run ended.

    Attributes:
        status: `nothing_new`, `waits`, `committed`.
        changed_rows: of Nexus; of a sync that waits, those that would change.
        undone: what has undone it; None if nothing has.
        is_newest: no later sync has taken its place.
    """

    status: str
    changed_rows: int
    undone: UndoneBy
    is_newest: bool


@dataclass(frozen=True)
class ChangedRow:
    """A row that a sync has changed: ids and names of columns, no values.

    Attributes:
        change: `insert`, `change` or `delete`, as the sync did it.
        columns: in which the row was changed.
    """

    table: str
    nexus_id: str
    change: str
    columns: Sequence[str]


@dataclass(frozen=True)
class Undoing:
    """What undoing a sync would do to Nexus.

    Attributes:
        saved_since: see `rows_saved_since`; if there are any, it cannot be undone.
    """

    sync: RecordedSync
    rows: Sequence[ChangedRow]
    saved_since: Mapping[str, Sequence[str]]


def read_undoing(settings: Settings, sync_id: str) -> Undoing:
    """Read what would be undone.

    Raises:
        RequestError: there is no such sync (404), it has changed nothing, or is undone (409).
    """
    url = settings.nexus_database_url.get_secret_value()
    found = read_sync(url, sync_id)
    with connect(url) as connection, connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        tables = changed_tables(cursor, found.id, catalogue)
        policy = make_full_policy(catalogue, read_registry(cursor), settings)
        saved = rows_saved_since(cursor, found.id, tables, policy)
        cursor.execute(
            "SELECT table_name, row_id, CASE WHEN before IS NULL THEN 'insert' WHEN after IS NULL THEN 'delete'"
            " ELSE 'change' END, ARRAY(SELECT name FROM json_object_keys(after) name WHERE before IS NOT NULL"
            " AND (before -> name)::text IS DISTINCT FROM (after -> name)::text ORDER BY 1)"
            " FROM fm_pipeline.sync_changes WHERE sync_id = %s ORDER BY table_name, 3, row_id",
            (found.id,),
        )
        rows = [ChangedRow(*row) for row in cursor.fetchall()]
    return Undoing(found, rows, {table.name: ids for table, ids in saved.items()})


def read_undoable_id(database_url: str) -> str | None:
    """Return the id of the last sync whose changes are in Nexus; None if there is none.

    Neither a person nor a restore has undone it.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        last = last_committed(cursor, with_changes=True)
    return last.id if last else None


def sync_of_run(database_url: str, run_id: str) -> SyncOfRun | None:
    """Return how the sync of a run ended; None if it left none on record."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.syncs"):
            return None
        cursor.execute(
            "SELECT status, coalesce((report ->> 'changed_rows')::bigint, 0), committed_at, undone_at,"
            " number = (SELECT max(number) FROM fm_pipeline.syncs)"
            " FROM fm_pipeline.syncs WHERE run_id = %s ORDER BY number DESC LIMIT 1",
            (run_id,),
        )
        row = cursor.fetchone()
        if row is None:
            return None
        status, rows, at, undone_at, is_newest = row
        undone = read_restores(connection).sync_undone_by(at, undone_at) if status == "committed" else None
        return SyncOfRun(status, rows, undone, is_newest)


def read_sync(database_url: str, sync_id: str = "") -> RecordedSync:
    """Read a sync.

    Args:
        sync_id: its id; empty for the newest one.

    Raises:
        RequestError: there is none of that id (404).
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        row = None
        if has_table(cursor, "fm_pipeline.syncs"):
            cursor.execute(
                "SELECT id::text, run_id, requested_by, created_at, status, inputs, report, deletions,"
                " number = (SELECT max(number) FROM fm_pipeline.syncs), undone_at, committed_at FROM fm_pipeline.syncs"
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
        found_id, run_id, requested_by, created_at, status, inputs, report, deletions, is_newest, undone_at, at = row
        undone = read_restores(connection).sync_undone_by(at, undone_at) if at else None
        return RecordedSync(
            *(found_id, run_id, requested_by, created_at, status, Inputs.from_dict(inputs).confirmation),
            *(report, deletions, decisions, is_newest, undone_at if undone == "person" else None),
            undone_by=undone if isinstance(undone, Restore) else None,
        )
