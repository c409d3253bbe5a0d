"""Whether a restore has undone a run: what was committed may not be in Nexus any more.

Every page, email and command that tells the result of a run asks here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

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


UndoneBy = Restore | Literal["person"] | None
"""What has undone a run; None if Nexus has what it committed."""


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
        undone = self._undone_by(at, self._numbers.get(backup_id or ""))
        return undone if isinstance(undone, Restore) else None

    def sync_undone_by(self, at: datetime, undone_at: datetime | None) -> UndoneBy:
        """Return what has undone a sync: a restore, or a person whose undo no restore has taken back.

        Args:
            at: when it was committed.
            undone_at: when a person undid it last; None if nobody has.
        """
        return self._undone_by(at, None, undone_at)

    def _undone_by(self, at: datetime, number: int | None, undone_at: datetime | None = None) -> UndoneBy:
        """Go through what was done since the commit.

        Args:
            number: of the backup that was made just before it.
        """
        states: list[tuple[datetime, UndoneBy]] = [(at, None)]
        by_person: list[tuple[datetime, UndoneBy]] = [(undone_at, "person")] if undone_at else []
        for each in self._restored:
            if each.restore.at <= at:
                continue
            if by_person and by_person[0][0] < each.restore.at:
                states.append(by_person.pop())
            found: UndoneBy = each.restore
            if not each.is_from_before(at, number):
                found = next((state for since, state in reversed(states) if since <= each.made_at), None)
            states.append((each.restore.at, found))
        return [*states, *by_person][-1][1]


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
