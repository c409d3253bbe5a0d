"""The record of each sync in `fm_pipeline.syncs`: what it did, or what waits for a person."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import has_table
from fm_pipeline.errors import PlanStop
from fm_pipeline.nexus.reimport.difference import Difference
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.nexus.reimport.plan_inputs import Inputs
from fm_pipeline.nexus.sync.decisions import CONFLICTS, Decision, gone_rows
from fm_pipeline.nexus.undoing_restores import read_restores
from fm_pipeline.pluralize import counted

SyncStatus = Literal["nothing_new", "waits", "committed"]
Deletions = Mapping[str, Sequence[str]]
"""Nexus ids of rows that are deleted, by entity."""

HOW_TO = (
    "Start the sync (job filemaker_sync, or fm-pipeline sync), read what waits, then start it with plan_id and confirm"
    " (or fm-pipeline sync --plan ID --confirm ...)."
)


@dataclass(frozen=True)
class WaitingSync:
    """A sync that waits: what was shown to the person who confirms it."""

    id: str
    inputs: Inputs
    deletions: Deletions
    conflicts: frozenset[tuple[str, str, str]]


@dataclass(frozen=True)
class CommittedSync:
    """A sync that was committed and is not undone.

    Attributes:
        at: in UTC.
        kept: values and rows of Nexus that it left as they were, without conflicts.
        conflicts: values and rows that both sides had changed.
    """

    id: str
    run_id: str | None
    at: datetime
    changed_rows: int
    kept: int
    conflicts: int


def last_committed(cursor: Cursor, *, with_changes: bool = False) -> CommittedSync | None:
    """Return the last committed sync that neither a person nor a restore has undone; None if there is none.

    Args:
        with_changes: only one that has changed rows of Nexus. One with conflicts only has kept all of them.
    """
    if not has_table(cursor, "fm_pipeline.syncs"):
        return None
    cursor.execute(
        "SELECT id, committed_at, undone_at FROM fm_pipeline.syncs s WHERE status = 'committed' AND (NOT %s"
        " OR EXISTS (SELECT FROM fm_pipeline.sync_changes c WHERE c.sync_id = s.id)) ORDER BY number DESC",
        (with_changes,),
    )
    restores = read_restores(cursor.connection)
    in_nexus = next((sync_id for sync_id, *times in cursor.fetchall() if not restores.sync_undone_by(*times)), None)
    cursor.execute(
        "SELECT id::text, run_id, committed_at AT TIME ZONE 'UTC', (report ->> 'changed_rows')::bigint,"
        " count(d.*) FILTER (WHERE d.kept AND d.decision <> ALL(%(conflicts)s)),"
        " count(d.*) FILTER (WHERE d.decision = ANY(%(conflicts)s))"
        " FROM fm_pipeline.syncs s LEFT JOIN fm_pipeline.sync_decisions d ON d.sync_id = s.id"
        " WHERE s.id = %(id)s GROUP BY s.id",
        {"conflicts": sorted(CONFLICTS), "id": in_nexus},
    )
    row = cursor.fetchone()
    return CommittedSync(*row) if row else None


@dataclass(frozen=True)
class UndoneSync:
    """A sync that was undone.

    Attributes:
        made_at, at: when it was committed and undone, in UTC.
        rows: how many were written back.
    """

    id: str
    made_at: datetime
    at: datetime
    rows: int


def read_undone(cursor: Cursor, since: datetime) -> list[UndoneSync]:
    """Return the syncs that persons have undone, without those whose undo a restore has changed; the last one first.

    Args:
        since: of those that were undone earlier, none.
    """
    if not has_table(cursor, "fm_pipeline.syncs"):
        return []
    cursor.execute(
        "SELECT id::text, committed_at, undone_at,"
        " (SELECT count(*) FROM fm_pipeline.sync_changes c WHERE c.sync_id = s.id)"
        " FROM fm_pipeline.syncs s WHERE undone_at >= %s ORDER BY undone_at DESC",
        (since,),
    )
    found = [UndoneSync(own_id, made.astimezone(UTC), at.astimezone(UTC), rows) for own_id, made, at, rows in cursor]
    restores = read_restores(cursor.connection)
    return [each for each in found if restores.sync_undone_by(each.made_at, each.at) == "person"]


def read_deletions(cursor: Cursor, differences: Sequence[Difference]) -> dict[str, list[str]]:
    """Return the ids of the rows that a merge deletes, by entity; entities without any are left out."""
    found = {}
    for difference in differences:
        cursor.execute(
            sql.SQL("SELECT id::text FROM {} WHERE decision = 'gone' ORDER BY 1").format(gone_rows(difference))
        )
        if ids := [row[0] for row in cursor.fetchall()]:
            found[difference.entity.name] = ids
    return found


def store_sync(
    cursor: Cursor,
    sync_id: str,
    status: SyncStatus,
    *,
    run_id: str | None,
    requested_by: str,
    now: datetime,
    inputs: Inputs,
    report: Mapping[str, Any],
    deletions: Deletions,
    plan_id: str | None = None,
) -> None:
    """Store a sync. One that waits takes the place of those that waited before it.

    Args:
        now: when it began. A backup that was made since, while FileMaker was read, does not have what is committed.
    """
    cursor.execute(
        "INSERT INTO fm_pipeline.syncs (id, run_id, requested_by, created_at, status, inputs, report, deletions,"
        " plan_id, committed_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s,"
        " CASE WHEN %s THEN clock_timestamp() END)",
        (
            *(sync_id, run_id, requested_by, now, status),
            *(json.dumps(inputs.as_dict()), json.dumps(report), json.dumps(deletions), plan_id),
            status == "committed",
        ),
    )


def waiting_sync(cursor: Cursor, permission: Permission) -> WaitingSync:
    """Return the sync that a permission names, if it is the newest one, waits, and was confirmed correctly.

    Raises:
        PlanStop: it is not; says what to do.
    """
    cursor.execute("SELECT id::text, status, inputs, deletions FROM fm_pipeline.syncs ORDER BY number DESC LIMIT 1")
    row = cursor.fetchone()
    if row is None or row[0] != permission.plan_id.strip().lower() or row[1] != "waits":
        raise PlanStop(
            "No sync of that id waits, or a later sync has taken its place.",
            meaning="Nothing was changed.",
            remedy=HOW_TO,
        )
    inputs = Inputs.from_dict(row[2])
    refuse_other_words(inputs, permission.confirm)
    cursor.execute(
        "SELECT entity, nexus_id, column_name, decision FROM fm_pipeline.sync_decisions WHERE sync_id = %s", (row[0],)
    )
    conflicts = {
        (entity, nexus_id, column)
        for entity, nexus_id, column, decision in cursor.fetchall()
        if Decision(entity, nexus_id, column, decision, kept=True).is_conflict
    }
    return WaitingSync(row[0], inputs, row[3], frozenset(conflicts))


def inputs_of(cursor: Cursor, sync_id: str) -> Inputs:
    """Return what a sync started from; there must be one of this id."""
    cursor.execute("SELECT inputs FROM fm_pipeline.syncs WHERE id::text = %s", (sync_id.strip().lower(),))
    return Inputs.from_dict((cursor.fetchone() or ({},))[0])


def refuse_other_words(inputs: Inputs, typed: str) -> None:
    """Refuse a confirmation that was not typed as the sync shows it.

    Raises:
        PlanStop: it names another database, or another number of patients.
    """
    if typed.split() != inputs.confirmation.split():
        raise PlanStop(
            "The confirmation does not name this database and its number of patients.",
            meaning="The words must be the database's name and the number of patients that Nexus had before the sync."
            " Nothing was changed.",
            remedy="Check that this is the database that you mean; the sync shows the words to type.",
        )


def refuse_more_than_shown(waiting: WaitingSync, deletions: Deletions, decisions: Sequence[Decision]) -> None:
    """Refuse a sync that would delete a row, or decide a conflict, that nobody has seen.

    Raises:
        PlanStop: names how many.
    """
    unseen = sum(len(set(ids) - set(waiting.deletions.get(entity, ()))) for entity, ids in deletions.items())
    conflicts = {(d.entity, d.nexus_id, d.column) for d in decisions if d.is_conflict} - waiting.conflicts
    if unseen or conflicts:
        raise PlanStop(
            f"Since the sync stopped, {counted(unseen, 'deletion')} and {counted(len(conflicts), 'conflict')} have been"
            " added.",
            meaning="Somebody has edited these rows in Nexus since. Nothing was changed.",
            remedy="Start the sync again and read what waits now.",
        )
