"""Whether a restore has undone a reimport or a sync: what was committed may not be in Nexus any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import connection as Connection

from fm_pipeline.db.queries import has_table

# Restores since a time, the oldest first, and whether their backups were made before that. The numbers of backups are
# their order, also after the clock was set back. A backup that was pruned says nothing.
_RESTORES = """
SELECT r.run_id, r.at, b.created_at, b.number <= mine.number OR b.created_at < %(at)s
FROM fm_pipeline.run_reports r JOIN fm_pipeline.backups b ON b.id::text = r.subject
     LEFT JOIN fm_pipeline.backups mine ON mine.id::text = %(backup_id)s
WHERE r.action = 'restore' AND NOT r.dry_run AND r.at > %(at)s ORDER BY r.id
"""


@dataclass(frozen=True)
class Restore:
    """A restore that was committed."""

    run_id: str
    at: datetime


def undone_by(connection: Connection, at: datetime, backup_id: str | None = None) -> Restore | None:
    """Return the restore that has undone what was committed then; None if Nexus still has it, or has it again.

    A restore of a backup from before undoes it. One of a later backup brings back what Nexus had when that was made.

    Args:
        at: when it began or was committed.
        backup_id: of the backup that was made just before, if there is one.
    """
    with connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.run_reports"):
            return None
        cursor.execute(_RESTORES, {"at": at, "backup_id": backup_id})
        restores = cursor.fetchall()
    states: list[tuple[datetime, Restore | None]] = [(at, None)]
    for run_id, restored_at, made_at, is_from_before in restores:
        found: Restore | None = Restore(run_id, restored_at)
        if not is_from_before:
            found = next((state for since, state in reversed(states) if since <= made_at), None)
        states.append((restored_at, found))
    return states[-1][1]
