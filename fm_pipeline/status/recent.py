"""What was done since a day, as numbers: for somebody who asks in the morning whether the night went well."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.dicom.api.response_data import FAILURES
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.nexus.undoing_restores import Restore, read_restores
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import load_clinic_time_zone
from fm_pipeline.status.history import HistoryFilter, count_attempts, kind_words

BAD_OUTCOMES = ("failed", "refused")
DICOM_IMPORT, DICOM_WATCH = "DICOM import", "DICOM watching"
_UNFINISHED = ("started", "running", "pending", "queued")
# Of these a later one that succeeded makes good what failed before. A backup that is verified says nothing of another
# one, and a restore nothing of a second one.
_MADE_GOOD = ("plan", "reimport", "sync", "backup", "export", "image_link", "image_import")


@dataclass(frozen=True)
class UnfinishedRun:
    """A run of Dagster that has not ended.

    Attributes:
        kind: of the history.
        waits: it has not begun.
    """

    run_id: str
    kind: str
    dry_run: bool
    waits: bool


@dataclass(frozen=True)
class Ends:
    """How runs of one kind ended.

    Attributes:
        kind: of the history, `DICOM import` or `DICOM watching`.
        outcomes: number of runs by outcome; `mistyped` are refusals that need nobody, see `count_attempts`.
        not_imported: of DICOM imports, the files whose bytes should be in Orthanc and are not; each is counted once,
            however many jobs refused it.
        errors: images that the newest link or import of images could not read or write.
        run_id: of that link or import; empty if it had no errors.
        waits: the newest sync waits for a person.
        paused: watched directories that cannot be read.
        made_good: a later run has done what an earlier one could not do.
        undone: reimports or syncs that a restore has undone.
        last_at: the time of the newest entry on record, as its list shows it; None if there is none. Of a DICOM import
            it is that of its end, or of its beginning if it has not ended.
    """

    kind: str
    dry_run: bool = False
    outcomes: Mapping[str, int] = field(default_factory=dict)
    not_imported: int = 0
    errors: int = 0
    run_id: str = ""
    waits: bool = False
    paused: int = 0
    made_good: bool = False
    undone: int = 0
    last_at: datetime | None = field(default=None, compare=False)

    @property
    def words(self) -> str:
        """The kind as pages name it."""
        return kind_words(self.kind, dry_run=self.dry_run)

    @property
    def has_failed(self) -> bool:
        """Whether a run failed or was refused, and no later one has made that good."""
        return any(self.outcomes.get(outcome) for outcome in BAD_OUTCOMES) and not self.made_good

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look."""
        return bool(self.has_failed or self.not_imported or self.errors or self.waits or self.paused)

    @property
    def is_unfinished_only(self) -> bool:
        """Whether no run of the kind has ended, and nothing else is to be said of it."""
        return set(self.outcomes) <= set(_UNFINISHED) and not self.is_bad

    @property
    def unfinished(self) -> int:
        """Runs that have not ended."""
        return sum(self.outcomes.get(outcome, 0) for outcome in _UNFINISHED)


# A job that began before the day is one of it if it has ended since, as runs of other kinds, or still works.
_OF_DAYS = "(coalesce(j.completed_at, j.created_at) >= %(since)s::date OR j.status = 'running')"
_IMPORTS = f"""
SELECT CASE status WHEN 'completed' THEN 'done' ELSE status END, count(*),
       sum(files_conflict + files_bad + files_failed + files_suspect)::bigint, max(coalesce(completed_at, created_at))
FROM fm_pipeline.import_jobs j WHERE {_OF_DAYS} GROUP BY 1 ORDER BY 1
"""  # noqa: S608  # of constants
# By the path: another job may have found the same file. Of one that Orthanc has by now nothing is said.
_NOT_IMPORTED = f"""
SELECT count(DISTINCT mine.path_hash)
FROM fm_pipeline.import_jobs j JOIN fm_pipeline.import_history mine ON mine.job_id = j.id
WHERE {_OF_DAYS} AND mine.status = ANY(%(failures)s)
  AND NOT EXISTS (SELECT FROM fm_pipeline.import_history later WHERE later.path_hash = mine.path_hash
                  AND later.id > mine.id AND later.status = ANY(%(there)s))
"""  # noqa: S608  # of constants
# The newest one of each action: it has tried again what an earlier one could not do.
_IMAGE_ERRORS = """
SELECT DISTINCT ON (action) action, run_id,
       coalesce((SELECT sum(value::bigint) FROM jsonb_each_text(report -> 'errors')), 0)::bigint
       + coalesce((report -> 'outcomes' ->> 'failed')::bigint, 0)
FROM fm_pipeline.run_reports
WHERE action IN ('image_link', 'image_import') AND NOT dry_run AND at >= %s::date ORDER BY action, at DESC
"""
# Runs that are counted by their rows: those of others are waiting, or have begun and written nothing yet.
_ON_RECORD = """
SELECT run.id FROM unnest(%(ids)s::text[], %(kinds)s::text[]) run (id, kind)
WHERE EXISTS (SELECT FROM fm_pipeline.audit a WHERE a.run_id = run.id AND a.action = run.kind)
   OR EXISTS (SELECT FROM fm_pipeline.run_reports r WHERE r.run_id = run.id AND r.action = run.kind)
   OR run.kind = 'plan' AND EXISTS (SELECT FROM fm_pipeline.plans p WHERE p.run_id = run.id)
"""
# What was committed since a day, and the backup of just before or when a person undid it.
_COMMITTED = {
    "reimport": "SELECT started_at, backup_id::text FROM fm_pipeline.reimports WHERE started_at >= %s::date",
    "sync": "SELECT committed_at, undone_at FROM fm_pipeline.syncs"
    " WHERE status = 'committed' AND committed_at >= %s::date",
}


def verdict(recent: Sequence[Ends], overdue: int = 0) -> str:
    """Say in one sentence whether all went well.

    Args:
        overdue: what was expected and did not come.
    """
    bad = sum(each.is_bad for each in recent)
    if bad or overdue:
        where = ["what is red here"] * bool(bad) + ["what is overdue, at the top of this page"] * bool(overdue)
        return f"{counted(bad + overdue, 'thing needs', 'things need')} your attention: {', and '.join(where)}."
    if not recent:
        return "Nothing was done."
    if unfinished := sum(each.unfinished for each in recent):
        return f"All went well so far. {counted(unfinished, 'run has', 'runs have')} not ended yet."
    return "All went well."


def read_recent(database_url: str, since: date, unfinished: Sequence[UnfinishedRun] = ()) -> list[Ends]:
    """Return how the runs since the beginning of a day ended, one entry for each kind of which there was one.

    Args:
        since: a day in the clinic's zone.
        unfinished: runs of Dagster that wait or run. Those that have left no row yet are counted too.
    """
    outcomes: dict[tuple[str, bool], dict[str, int]] = defaultdict(dict)
    last: dict[tuple[str, bool], dict[str, datetime]] = defaultdict(dict)
    for each in count_attempts(database_url, HistoryFilter(since=since.isoformat())):
        key = each["kind"], each["dry_run"]
        outcomes[key][each["ended"]] = each["count"]
        last[key][each["ended"]] = each["last_at"]
    with connect(database_url) as connection, connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.watched_roots"):
            return [Ends(*key, ends) for key, ends in outcomes.items()]
        for run in _not_on_record(cursor, unfinished):
            ends, state = outcomes[run.kind, run.dry_run], "queued" if run.waits else "started"
            ends[state] = ends.get(state, 0) + 1
        cursor.execute("SELECT set_config('TimeZone', %s, false)", (load_clinic_time_zone(),))
        more = _more_of_kinds(cursor, since)
        for key in more:
            outcomes.setdefault(key, {})
        found = [
            Ends(
                *key,
                ends,
                made_good=_is_made_good(key[0], last[key]),
                last_at=max(last[key].values(), default=None),
                **more.get(key, {}),
            )
            for key, ends in outcomes.items()
        ]
        return found + _dicom(cursor, since)


def _not_on_record(cursor: Cursor, unfinished: Sequence[UnfinishedRun]) -> list[UnfinishedRun]:
    if not unfinished:
        return []
    ids, kinds = [run.run_id for run in unfinished], [run.kind for run in unfinished]
    cursor.execute(_ON_RECORD, {"ids": ids, "kinds": kinds})
    on_record = {run_id for (run_id,) in cursor.fetchall()}
    return [run for run in unfinished if run.run_id not in on_record]


def _is_made_good(kind: str, last: Mapping[str, datetime]) -> bool:
    bad = [last[outcome] for outcome in BAD_OUTCOMES if outcome in last]
    return kind in _MADE_GOOD and bool(bad) and "done" in last and last["done"] > max(bad)


def _more_of_kinds(cursor: Cursor, since: date) -> dict[tuple[str, bool], dict[str, Any]]:
    """Return what the ends of runs do not say, by kind and `dry_run`.

    These are images with errors, what a restore has undone, and a sync that waits.
    """
    cursor.execute(_IMAGE_ERRORS, (since,))
    found: dict[tuple[str, bool], dict[str, Any]] = {
        (action, False): {"errors": errors, "run_id": run_id} for action, run_id, errors in cursor.fetchall() if errors
    }
    restores, has_syncs = read_restores(cursor.connection), has_table(cursor, "fm_pipeline.syncs")
    for kind, query in _COMMITTED.items():
        if kind == "sync" and not has_syncs:
            continue
        cursor.execute(query, (since,))
        undone_by = restores.undone_by if kind == "reimport" else restores.sync_undone_by
        if undone := sum(isinstance(undone_by(*committed), Restore) for committed in cursor.fetchall()):
            found[kind, False] = {"undone": undone}
    if has_syncs:
        cursor.execute("SELECT status FROM fm_pipeline.syncs ORDER BY number DESC LIMIT 1")
        if cursor.fetchone() == ("waits",):
            found.setdefault(("sync", False), {})["waits"] = True
    return found


def _dicom(cursor: Cursor, since: date) -> list[Ends]:
    cursor.execute(_IMPORTS, {"since": since})
    jobs = cursor.fetchall()
    found = []
    if jobs:
        not_imported = 0
        if any(files for _, _, files, _ in jobs):
            there = [Outcome.IMPORTED, Outcome.ALREADY_THERE, Outcome.DUPLICATE]
            values = {"since": since, "failures": list(map(str, FAILURES)), "there": list(map(str, there))}
            cursor.execute(_NOT_IMPORTED, values)
            ((not_imported,),) = cursor.fetchall()
        ends = {status: count for status, count, _, _ in jobs}
        last_at = max(at for _, _, _, at in jobs)
        found.append(Ends(DICOM_IMPORT, outcomes=ends, not_imported=not_imported, last_at=last_at))
    # A directory that is watched no longer keeps its last alarm.
    cursor.execute(
        "SELECT count(*) FROM fm_pipeline.watched_roots WHERE alarm IS NOT NULL AND ticked_at >= %s::date", (since,)
    )
    ((paused,),) = cursor.fetchall()
    return [*found, Ends(DICOM_WATCH, paused=paused)] if paused else found
