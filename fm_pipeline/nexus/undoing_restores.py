"""Whether a restore has undone a run: what was committed may not be in Nexus any more.

Every page, email and command that tells the result of a run asks here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg2.extensions import connection as Connection

from fm_pipeline.db.queries import has_table

# The numbers of backups are their order, also after the clock was set back; an earlier release has none. A backup that
# was pruned says nothing.
_RESTORES = """
SELECT r.run_id, r.at, b.created_at, (to_jsonb(b) ->> 'number')::bigint
FROM fm_pipeline.run_reports r JOIN fm_pipeline.backups b ON b.id::text = r.subject
WHERE r.action = 'restore' AND NOT r.dry_run ORDER BY r.id
"""
_NUMBERS = "SELECT id::text, (to_jsonb(b) ->> 'number')::bigint FROM fm_pipeline.backups b"


@dataclass(frozen=True)
class Restore:
    """A restore that was committed."""

    run_id: str
    at: datetime


@dataclass(frozen=True)
class _Restored:
    """A restore, with the time and number of its backup."""

    restore: Restore
    made_at: datetime
    number: int | None

    def is_from_before(self, at: datetime, number: int | None) -> bool:
        """Whether its backup was made before a time, or is that of a number or an earlier one."""
        by_number = number is not None and self.number is not None and self.number <= number
        return by_number or self.made_at < at


@dataclass(frozen=True)
class Restores:
    """All restores that were committed, the oldest first."""

    _restored: Sequence[_Restored] = ()
    _numbers: Mapping[str, int | None] = field(default_factory=dict)

    def undone_by(self, at: datetime, backup_id: str | None = None) -> Restore | None:
        """Return the restore that has undone what was committed then; None if Nexus still has it, or has it again.

        A restore of a backup from before undoes it. One of a later backup brings back what Nexus had when that was
        made.

        Args:
            at: when it began or was committed.
            backup_id: of the backup that was made just before, if there is one.
        """
        number = self._numbers.get(backup_id or "")
        states: list[tuple[datetime, Restore | None]] = [(at, None)]
        for each in self._restored:
            if each.restore.at <= at:
                continue
            found: Restore | None = each.restore
            if not each.is_from_before(at, number):
                found = next((state for since, state in reversed(states) if since <= each.made_at), None)
            states.append((each.restore.at, found))
        return states[-1][1]


def read_restores(connection: Connection) -> Restores:
    """Return all restores; none in a database of an earlier release, which has not recorded them."""
    with connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.run_reports"):
            return Restores()
        cursor.execute(_RESTORES)
        rows = cursor.fetchall()
        if not rows:
            return Restores()
        cursor.execute(_NUMBERS)
        numbers = dict(cursor.fetchall())
    return Restores([_Restored(Restore(run_id, at), made_at, number) for run_id, at, made_at, number in rows], numbers)
