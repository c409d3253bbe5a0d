"""The runs of the pipeline that have written to Nexus since a time: on record in the schema `fm_pipeline`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor

# A run that was killed has no end on record and no report. What a link or an import of images has committed is in its
# ledger with the time, which lies between the beginning of the run and that of the next one.
_RUNS = """
WITH links AS (
    SELECT run_id, max(at) AS at, min(at) AS begun, lead(min(at), 1, 'infinity') OVER (ORDER BY min(at)) AS until
    FROM fm_pipeline.audit WHERE action = 'image_link' AND run_id IS NOT NULL GROUP BY run_id
), imports AS (
    SELECT run_id, listed_at AS begun, lead(listed_at, 1, 'infinity') OVER (ORDER BY listed_at) AS until
    FROM fm_pipeline.waterfall_lists
)
SELECT kind, run_id, at FROM (
    SELECT 'reimport' AS kind, run_id, started_at AS at FROM fm_pipeline.reimports
    WHERE started_at > %(since)s AND report ->> 'changed_rows' IS DISTINCT FROM '0'
    UNION ALL
    SELECT 'sync', run_id, created_at FROM fm_pipeline.syncs
    WHERE committed_at > %(since)s AND report ->> 'changed_rows' IS DISTINCT FROM '0'
    UNION ALL
    SELECT 'undo_of_a_sync', NULL, undone_at FROM fm_pipeline.syncs WHERE undone_at > %(since)s
    UNION ALL
    SELECT action, run_id, at FROM fm_pipeline.run_reports
    WHERE action = 'restore' AND NOT dry_run AND at > %(since)s AND report ->> 'changed_rows' IS DISTINCT FROM '0'
    UNION ALL
    SELECT 'image_link', run_id, at FROM links l
    WHERE EXISTS (SELECT FROM fm_pipeline.run_reports r
                  WHERE r.run_id = l.run_id AND r.action = 'image_link' AND NOT r.dry_run AND r.at > %(since)s
                  AND coalesce((r.report ->> 'linked')::bigint, 0) + coalesce((r.report ->> 'repaired')::bigint, 0)
                      + coalesce((r.report ->> 'batches_created')::bigint, 0) > 0)
       OR EXISTS (SELECT FROM fm_pipeline.image_copies c
                  WHERE c.linked_at > %(since)s AND c.linked_at >= l.begun AND c.linked_at < l.until)
    UNION ALL
    SELECT 'image_import', l.run_id, coalesce(max(a.at), l.begun)
    FROM imports l LEFT JOIN fm_pipeline.audit a ON a.action = 'image_import' AND a.run_id = l.run_id
    WHERE l.until > %(since)s
      AND EXISTS (SELECT FROM fm_pipeline.waterfall_images i WHERE i.container IS NOT NULL
                  AND i.linked_at > %(since)s AND i.linked_at >= l.begun AND i.linked_at < l.until)
    GROUP BY l.run_id, l.begun
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
