"""What a run has left in Nexus, by what is on record of it: every page that shows a run says it from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.status.history import KIND_OF_JOB, KINDS, about_cancel
from fm_pipeline.status.run_steps import changes_nexus
from fm_pipeline.status.syncs import SyncOfRun, sync_of_run

ENDED_BADLY = ("failed", "refused", "cancelled")
_CHANGE_NOTHING = ("plan", "backup", "verify", "export", "prune")  # in Nexus, however they end
_JOB_OF_CANCEL = {about_cancel(job): job for job in KIND_OF_JOB}
# How the details of these begin in the audit trail (`undo_sync`, `restore`).
_UNDOES, _DRY_RUN = "Undo of the sync", "A dry run"
# A link has several ends in the audit trail. It has one report, as every other kind that is not named here.
_ON_RECORD = """
SELECT EXISTS (SELECT FROM fm_pipeline.reimports WHERE run_id = %(run)s) AS is_committed,
       EXISTS (SELECT FROM fm_pipeline.run_reports WHERE run_id = %(run)s AND action = %(kind)s)
       OR %(kind)s IN ('plan', 'sync', 'backup')
       AND EXISTS (SELECT FROM fm_pipeline.audit WHERE run_id = %(run)s AND action = %(kind)s AND outcome = 'done'),
       EXISTS (SELECT FROM fm_pipeline.audit a
               JOIN fm_pipeline.syncs s ON starts_with(a.detail, format('%%s %%s.', %(undoes)s, s.id))
               WHERE a.run_id = %(run)s AND a.action = 'sync' AND s.undone_at >= a.at) AS has_undone
"""


@dataclass(frozen=True)
class Attempt:
    """What a run did or is to do.

    Attributes:
        kind: of the history; empty for one that the history does not have.
        undoes_sync: it undoes a sync, in place of making one.
        outcome: how it has ended, as the audit trail calls it; empty if it has not, or if that is not known.
    """

    kind: str
    dry_run: bool = False
    undoes_sync: bool = False
    outcome: str = ""


@dataclass(frozen=True)
class RunEnd:
    """What a run has left.

    Attributes:
        finished: what it was to do is done and on record. Its process ends a moment later.
        unchanged: it has certainly changed nothing in Nexus so far.
        rolled_back: what its steps had written was rolled back.
        sync: its sync; None if it has left none on record.
    """

    finished: bool = False
    unchanged: bool = False
    rolled_back: bool = False
    sync: SyncOfRun | None = None

    def state_of_step(self, step: str, *, has_begun: bool, has_ended: bool, is_over: bool) -> str:
        """Return `to come`, `running`, `stopped`, `done`, or `rolled back`.

        Args:
            step: its name, as it is stored.
            has_begun, has_ended: the step.
            is_over: the run has ended. A step that has not is where it stopped.
        """
        if has_ended:
            return "rolled back" if self.rolled_back and changes_nexus(step) else "done"
        if not has_begun:
            return "to come"
        return "stopped" if is_over else "running"


def read_run_end(database_url: str, run_id: str, attempt: Attempt) -> RunEnd:
    """Return what a run has left in Nexus. What it has committed there is on record: in the same transaction.

    Raises:
        DatabaseError: the database does not answer.
    """
    sync = sync_of_run(database_url, run_id) if attempt.kind == "sync" and not attempt.undoes_sync else None
    with connect(database_url) as connection, connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.run_reports"):
            return RunEnd()
        cursor.execute(_ON_RECORD, {"run": run_id, "kind": attempt.kind, "undoes": _UNDOES})
        ((is_committed, is_done, has_undone),) = cursor.fetchall()
    has_not_synced = not has_undone if attempt.undoes_sync else sync is None or sync.status != "committed"
    undecided = {
        "reimport": not is_committed,
        "sync": has_not_synced,
        "restore": not is_done,
    }
    unchanged = attempt.dry_run or attempt.kind in _CHANGE_NOTHING or undecided.get(attempt.kind, False)
    has_waited = sync is not None and sync.status == "waits"
    return RunEnd(
        finished=is_done or (attempt.kind == "reimport" and is_committed),
        unchanged=unchanged,
        rolled_back=unchanged and attempt.kind in undecided and (has_waited or attempt.outcome in ENDED_BADLY),
        sync=sync,
    )


def recorded_attempt(audit: Sequence[Mapping[str, Any]]) -> Attempt:
    """Return what a run did last, of which only its rows of the audit trail are left, and how it ended.

    Args:
        audit: as `read_run` returns them, oldest first.
    """
    begun: dict[str, Attempt] = {}  # and not ended
    last = Attempt("")
    for row in audit:
        kind, outcome, detail = row["action"], row["outcome"], row["detail"]
        if kind in KINDS:
            last = Attempt(kind, detail.startswith(_DRY_RUN), kind == "sync" and detail.startswith(_UNDOES), outcome)
            if outcome == "started":
                begun[kind] = last = replace(last, outcome="")
            else:
                begun.pop(kind, None)
        elif kind == "cancel" and outcome == "done" and (job := _JOB_OF_CANCEL.get(detail)):
            begun, last = {}, Attempt(KIND_OF_JOB[job], last.dry_run, last.undoes_sync, "cancelled")
    return next(iter(begun.values()), last)
