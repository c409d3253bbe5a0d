"""The progress of the newest run, and the last reimports, plans, backups and attempts.

It reads the schema `fm_pipeline` only: counts, ids and account names; no patient data.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg2.extras import RealDictCursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.nexus.undoing_restores import Restores, read_restores

# They also read tables of an earlier release, which has not been upgraded yet: its backups have no number.
_QUERIES = {
    # All steps of the run whose progress changed last.
    "progress": """
        SELECT run_id, step, done, total, errors, started_at, updated_at, finished_at,
               extract(epoch FROM updated_at - started_at)::float AS seconds,
               CASE WHEN finished_at IS NULL AND done > 0 AND total >= done
                    THEN (extract(epoch FROM updated_at - started_at) / done * (total - done))::float
               END AS eta_seconds
        FROM fm_pipeline.progress
        WHERE run_id = (SELECT run_id FROM fm_pipeline.progress ORDER BY updated_at DESC LIMIT 1) ORDER BY position
    """,
    "reimports": """
        SELECT id::text, run_id, started_at, requested_by, plan_id::text, backup_id::text, phases,
               (report ->> 'changed_rows')::bigint AS changed_rows, (report ->> 'seconds')::float AS seconds
        FROM fm_pipeline.reimports ORDER BY started_at DESC LIMIT 5
    """,
    "plans": """
        SELECT p.id::text, p.run_id, p.created_at, p.requested_by, p.phases,
               (p.report ->> 'changed_rows')::bigint AS changed_rows,
               r.id IS NOT NULL AS carried_out, r.started_at, r.backup_id::text
        FROM fm_pipeline.plans p LEFT JOIN fm_pipeline.reimports r ON r.plan_id = p.id
        ORDER BY p.created_at DESC LIMIT 5
    """,
    "backups": """
        SELECT id::text, run_id, created_at, verified_at, folder, encrypted, bytes
        FROM fm_pipeline.backups b ORDER BY (to_jsonb(b) ->> 'number')::bigint DESC, created_at DESC LIMIT 5
    """,
    "attempts": """
        SELECT at, actor, action, outcome, plan_id::text, run_id, detail
        FROM fm_pipeline.audit ORDER BY id DESC LIMIT 10
    """,
}

Overview = Mapping[str, list[dict[str, Any]]]


def read_overview(database_url: str) -> Overview:
    """Return rows by kind: progress, reimports, plans, backups, attempts; all empty if the pipeline never ran.

    Times have a time zone. `undone_at` of a reimport, and of the plan that it carried out, is when a restore has undone
    it; None if Nexus has it. Nothing is migrated or written.

    Raises:
        DatabaseError: the database does not answer.
    """
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        # The newest table: if it does not exist, these queries have nothing to read.
        if not has_table(cursor, "fm_pipeline.progress"):
            return {name: [] for name in _QUERIES}
        found = {}
        for name, query in _QUERIES.items():
            cursor.execute(query)
            found[name] = [dict(row) for row in cursor.fetchall()]
        restores = read_restores(connection)
        for row in found["reimports"]:
            row["undone_at"] = _undone_at(restores, row["started_at"], row["backup_id"])
        for row in found["plans"]:
            row["undone_at"] = _undone_at(restores, row.pop("started_at"), row.pop("backup_id"))
        return found


def _undone_at(restores: Restores, at: datetime | None, backup_id: str | None) -> datetime | None:
    undone = restores.undone_by(at, backup_id) if at else None
    return undone.at if undone else None
