"""The runs of the pipeline that have written to Nexus since a time: on record in the schema `fm_pipeline`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor

# A link or an import of images that has ended in any way has kept what it wrote before. A link has two ends in the
# audit trail: of its copies, and of its rows. The report of one that wrote nothing says so.
_RUNS = """
SELECT kind, run_id, at FROM (
    SELECT 'reimport' AS kind, run_id, started_at AS at FROM fm_pipeline.reimports WHERE started_at > %(since)s
    UNION ALL
    SELECT 'sync', run_id, created_at FROM fm_pipeline.syncs WHERE committed_at > %(since)s
    UNION ALL
    SELECT 'undo_of_a_sync', NULL, undone_at FROM fm_pipeline.syncs WHERE undone_at > %(since)s
    UNION ALL
    SELECT action, run_id, at FROM fm_pipeline.run_reports
    WHERE action = 'restore' AND NOT dry_run AND at > %(since)s
    UNION ALL
    SELECT a.action, a.run_id, max(a.at) FROM fm_pipeline.audit a
    WHERE a.action IN ('image_link', 'image_import') AND a.outcome IN ('done', 'failed', 'cancelled')
      AND a.at > %(since)s
      AND NOT EXISTS (SELECT FROM fm_pipeline.run_reports r WHERE r.run_id = a.run_id AND r.action = a.action
                      AND coalesce(r.report ->> 'linked', r.report -> 'outcomes' ->> 'imported') = '0')
    GROUP BY a.action, a.run_id
) runs ORDER BY at DESC
"""


@dataclass(frozen=True)
class WritingRun:
    """A run that has written to Nexus.

    Attributes:
        kind: as the history names it, or `undo_of_a_sync`.
        run_id: None if it is not on record.
        at: as other pages name it.
    """

    kind: str
    run_id: str | None
    at: datetime


def runs_since(cursor: Cursor, since: datetime) -> list[WritingRun]:
    """Return them, the newest first."""
    cursor.execute(_RUNS, {"since": since})
    return [WritingRun(*row) for row in cursor.fetchall()]
