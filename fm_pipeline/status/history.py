"""What was done: plans, reimports, backups, restores, image links and imports, the newest first, and their reports.

It reads the schema `fm_pipeline` only: counts, ids, sentences of ours and account names; no patient data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

from psycopg2.extras import RealDictCursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.undoing_restores import Restore, Restores, read_restores
from fm_pipeline.settings import load_clinic_time_zone

PAGE = 50
KINDS = ("plan", "reimport", "sync", "backup", "restore", "verify", "export", "prune", "image_link", "image_import")
_WORDS = {"verify": "verification", "export": "export as CSV"}
# What a job does, by its name: a run that is cancelled before it begins this leaves no row of it.
KIND_OF_JOB = {
    "plan_reimport": "plan",
    "full_reimport": "reimport",
    "filemaker_sync": "sync",
    "make_backup": "backup",
    "restore_backup": "restore",
    "verify_backup": "verify",
    "restore_drill": "verify",
    "export_nexus_csv": "export",
    "link_images": "image_link",
    "import_image_files": "image_import",
}
# What a refusal says if other words were typed than a confirmation asks for: who typed them was told so at once.
_MISTYPED = "The confirmation does not name|Other words than asked for were typed"
OUTCOMES = ("done", "refused", "failed", "cancelled", "started")

# Plans and reimports have rows of their own, which are there if and only if they came to their end. The same holds for
# the report of a restore. All other ends are in the audit trail; an attempt whose row `started` is its last one runs,
# or was killed.
_ATTEMPTS = """
WITH attempts AS (
    SELECT 'plan' AS kind, id, run_id, created_at AS at, requested_by AS actor, 'done' AS outcome, '' AS detail,
           false AS dry_run
    FROM fm_pipeline.plans
    UNION ALL
    SELECT 'reimport', id, run_id, started_at, requested_by, 'done', '', false FROM fm_pipeline.reimports
    UNION ALL
    SELECT a.action, NULL, a.run_id, a.at, a.actor,
           CASE WHEN a.action = 'restore' AND EXISTS (
                    SELECT FROM fm_pipeline.run_reports r
                    WHERE r.run_id = a.run_id AND r.action = a.action AND NOT r.dry_run)
                THEN 'done' ELSE a.outcome END,
           a.detail, false
    FROM fm_pipeline.audit a
    WHERE a.action = ANY(%(kinds)s) AND (a.action NOT IN ('plan', 'reimport') OR a.outcome <> 'done')
      AND NOT EXISTS (SELECT FROM fm_pipeline.audit later
                      WHERE later.run_id = a.run_id AND later.action = a.action AND later.id > a.id)
      AND (a.outcome <> 'started' OR a.run_id IS NOT NULL)
      AND NOT EXISTS (SELECT FROM fm_pipeline.run_reports dry
                      WHERE dry.run_id = a.run_id AND dry.action = a.action AND dry.dry_run)
    UNION ALL
    SELECT job.kind, NULL, c.run_id, c.at, c.actor, 'cancelled', 'It was cancelled before it changed anything.', false
    FROM fm_pipeline.audit c
    JOIN unnest(%(about_cancels)s, %(kinds_of_jobs)s) AS job(about, kind) ON job.about = c.detail
    WHERE c.action = 'cancel' AND c.outcome = 'done'
      AND NOT EXISTS (SELECT FROM fm_pipeline.audit a WHERE a.run_id = c.run_id AND a.action = job.kind)
      AND NOT EXISTS (SELECT FROM fm_pipeline.audit before WHERE before.run_id = c.run_id AND before.id < c.id
                      AND before.action = 'cancel' AND before.outcome = 'done')
    UNION ALL
    SELECT r.action, NULL, r.run_id, r.at,
           coalesce(q.actor, (SELECT max(a.actor) FROM fm_pipeline.audit a WHERE a.run_id = r.run_id), ''), 'done', '',
           r.dry_run
    FROM fm_pipeline.run_reports r LEFT JOIN fm_pipeline.run_requests q USING (run_id)
    WHERE r.dry_run
)
SELECT {columns}
FROM attempts
WHERE (%(kind)s = '' OR kind = %(kind)s) AND (%(outcome)s = '' OR outcome = %(outcome)s)
  AND (%(actor)s = '' OR actor = %(actor)s) AND (%(since)s::date IS NULL OR at >= %(since)s::date)
{end}
"""
# Reports are read of the attempts on the page only: each may have megabytes of ids.
_PAGE = f"""
SELECT shown.kind, shown.id::text, shown.run_id, shown.at, shown.actor, shown.outcome, shown.detail, shown.dry_run,
       coalesce((stored.report ->> 'changed_rows')::bigint,
                (SELECT max((r.report ->> 'changed_rows')::bigint) FROM fm_pipeline.run_reports r
                 WHERE r.run_id = shown.run_id AND r.action = shown.kind AND shown.outcome = 'done'
                   AND NOT shown.dry_run)) AS changed_rows,
       (stored.report ->> 'seconds')::float AS seconds,
       EXISTS (SELECT FROM fm_pipeline.run_reports r WHERE r.run_id = shown.run_id) AS has_report
FROM ({_ATTEMPTS.format(columns="*", end="ORDER BY at DESC, kind LIMIT %(limit)s OFFSET %(offset)s")}) shown
LEFT JOIN LATERAL (SELECT report FROM fm_pipeline.plans p WHERE shown.kind = 'plan' AND p.id = shown.id
                   UNION ALL
                   SELECT report FROM fm_pipeline.reimports i WHERE shown.kind = 'reimport' AND i.id = shown.id) stored
    ON true
ORDER BY at DESC, kind
"""  # noqa: S608  # of constants
_COUNTS = _ATTEMPTS.format(
    columns="kind, dry_run, CASE WHEN outcome = 'refused' AND detail ~ %(mistyped)s THEN 'mistyped' ELSE outcome END"
    " AS ended, count(*), max(at) AS last_at",
    end="GROUP BY kind, dry_run, ended"
    " ORDER BY max(max(at)) OVER (PARTITION BY kind, dry_run) DESC, kind, dry_run, max(at) DESC, ended",
)

# What a restore may undo: the reimport or the run of the sync, when it was committed, and the backup of just before or
# when a person undid it.
_COMMITTED = {
    "reimport": "SELECT id::text, started_at, backup_id::text FROM fm_pipeline.reimports WHERE id::text = ANY(%s)",
    "sync": "SELECT run_id, committed_at, undone_at FROM fm_pipeline.syncs"
    " WHERE status = 'committed' AND run_id = ANY(%s)",
}
_OF_RUN = {
    "requests": "SELECT actor FROM fm_pipeline.run_requests WHERE run_id = %s",
    "steps": """
        SELECT step, done, total, errors, updated_at, finished_at,
               extract(epoch FROM updated_at - started_at)::float AS seconds,
               CASE WHEN finished_at IS NULL AND done > 0 AND total >= done
                    THEN (extract(epoch FROM updated_at - started_at) / done * (total - done))::float
               END AS eta_seconds
        FROM fm_pipeline.progress WHERE run_id = %s ORDER BY position
    """,
    "audit": "SELECT at, actor, action, outcome, detail FROM fm_pipeline.audit WHERE run_id = %s ORDER BY id",
    "reports": "SELECT action, at, dry_run, subject, report FROM fm_pipeline.run_reports WHERE run_id = %s ORDER BY id",
}


@dataclass(frozen=True)
class HistoryFilter:
    """Which attempts; an empty text leaves a condition out.

    Attributes:
        since: a day in the clinic's zone, YYYY-MM-DD; from its beginning.
    """

    kind: str = ""
    outcome: str = ""
    actor: str = ""
    since: str = ""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> HistoryFilter:
        """Return the filter of a query string; other names and what is no day are passed over."""
        given = {field.name: values.get(field.name, "").replace("\0", "").strip() for field in fields(cls)}
        try:
            given["since"] = date.fromisoformat(given["since"]).isoformat()
        except ValueError:
            given["since"] = ""
        return cls(**given)


def kind_words(kind: str, *, dry_run: bool = False) -> str:
    """Return a kind as pages name it. A plan is what the dry run of a reimport makes."""
    if kind == "plan":
        kind, dry_run = "reimport", True
    return _WORDS.get(kind, kind.replace("_", " ")) + (" (dry run)" if dry_run else "")


def about_cancel(job: str) -> str:
    """Return what the audit trail says of the cancel of a job's run; the history reads it there."""
    return f"Run of {job}."


def read_history(database_url: str, wanted: HistoryFilter, page: int = 1) -> tuple[list[dict[str, Any]], bool]:
    """Return a page of attempts, and whether there are more.

    `undone` of an attempt is the restore that has undone the reimport or sync; None for all others.

    Args:
        page: from 1.
    """
    found = _attempts(database_url, _PAGE, wanted, limit=PAGE + 1, offset=(max(page, 1) - 1) * PAGE)
    shown = found[:PAGE]
    undone = _undone_runs(database_url, shown)
    return [each | {"undone": undone.get(each["id"] or each["run_id"])} for each in shown], len(found) > PAGE


def _undone_runs(database_url: str, attempts: Sequence[Mapping[str, Any]]) -> dict[str, Restore]:
    """Return the restores that have undone reimports and syncs of these, by the reimport or the run of the sync."""
    ids = {kind: [each["id"] or each["run_id"] for each in attempts if each["kind"] == kind] for kind in _COMMITTED}
    found: dict[str, Restore] = {}
    if not any(ids.values()):
        return found
    with connect(database_url) as connection, connection.cursor() as cursor:
        restores = read_restores(connection)
        for kind, query in _COMMITTED.items():
            cursor.execute(query, (ids[kind],))
            undone_by = restores.undone_by if kind == "reimport" else restores.sync_undone_by
            for identifier, at, more in cursor.fetchall():
                if isinstance(undone := undone_by(at, more), Restore):
                    found[identifier] = undone
    return found


def count_attempts(database_url: str, wanted: HistoryFilter) -> list[dict[str, Any]]:
    """Return the number (`count`) and the newest (`last_at`) of attempts by `kind`, `dry_run` and how they `ended`.

    This is the outcome, or `mistyped` for a refusal of other words than a confirmation asks for. The kind of the newest
    attempt is first.
    """
    return _attempts(database_url, _COUNTS, wanted)


def _attempts(database_url: str, query: str, wanted: HistoryFilter, **more: int) -> list[dict[str, Any]]:
    values = vars(wanted) | more | {"kinds": list(KINDS), "since": wanted.since or None, "mistyped": _MISTYPED}
    values |= {"about_cancels": [about_cancel(job) for job in KIND_OF_JOB], "kinds_of_jobs": list(KIND_OF_JOB.values())}
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        if not has_table(cursor, "fm_pipeline.run_reports"):
            return []
        if wanted.since:
            cursor.execute("SELECT set_config('TimeZone', %s, false)", (load_clinic_time_zone(),))
        cursor.execute(query, values)
        return [dict(row) for row in cursor.fetchall()]


def read_report(database_url: str, kind: str, identifier: str) -> dict[str, Any]:
    """Return a plan or a reimport with its stored report, and the restore that has `undone` the reimport, or None.

    Args:
        kind: `plan` or `reimport`.
        identifier: its uuid.

    Raises:
        RequestError: there is none (404).
    """
    table = {"plan": "plans", "reimport": "reimports"}[kind]
    at = {"plan": "created_at", "reimport": "started_at"}[kind]
    more = {"plan": "NULL AS plan_id, NULL AS backup_id", "reimport": "plan_id::text, backup_id::text"}[kind]
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        if has_table(cursor, f"fm_pipeline.{table}"):
            cursor.execute(
                f"SELECT id::text, run_id, {at} AS at, requested_by, phases, report, {more}"  # noqa: S608  # of constants
                f" FROM fm_pipeline.{table} WHERE id::text = %s",
                (identifier,),
            )
            if row := cursor.fetchone():
                undone = (
                    read_restores(connection).undone_by(row["at"], row["backup_id"]) if kind == "reimport" else None
                )
                return {"kind": kind, "undone": undone, **row}
    raise _none(f"There is no {kind} of this id.")


def read_run(database_url: str, run_id: str) -> dict[str, Any]:
    """Return what is on record of a run.

    Returns:
        actor: who asked for it in the console; None for other runs.
        steps: its progress, in order, with seconds and the time left.
        audit: its rows of the audit trail, oldest first.
        reports: what it stored about itself, oldest first; `is_valid`: the restore may follow this dry run of it.

    Raises:
        RequestError: nothing is on record (404).
    """
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        found: dict[str, Any] = {"run_id": run_id, "actor": None, "steps": [], "audit": [], "reports": []}
        if has_table(cursor, "fm_pipeline.run_reports"):
            for name, query in _OF_RUN.items():
                cursor.execute(query, (run_id,))
                found[name] = [dict(row) for row in cursor.fetchall()]
            found["actor"] = next((row["actor"] for row in found.pop("requests")), None)
    if not any(found[name] for name in ("actor", "steps", "audit", "reports")):
        raise _none("There is no run of that id on record.")
    found["reports"] = _with_validity(database_url, run_id, found["reports"])
    return found


def read_run_reports(database_url: str, run_id: str) -> list[dict[str, Any]]:
    """Return what a run stored about itself, as `read_run` does; empty if it stored nothing."""
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(_OF_RUN["reports"], (run_id,))
        reports = [dict(row) for row in cursor.fetchall()]
    return _with_validity(database_url, run_id, reports)


def read_reason(database_url: str, run_id: str) -> str:
    """Return why a run was refused or failed, in our own sentences; empty if it left none."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT detail FROM fm_pipeline.audit WHERE run_id = %s AND outcome IN ('refused', 'failed')"
            " AND action <> 'cancel' ORDER BY id DESC LIMIT 1",
            (run_id,),
        )
        row = cursor.fetchone()
        return str(row[0]).strip() if row else ""


def who_cancelled(database_url: str, run_id: str) -> str:
    """Return the account that has cancelled a run, the first of several; empty if none did in the console."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT actor FROM fm_pipeline.audit WHERE run_id = %s AND action = 'cancel'"
            " AND outcome IN ('started', 'done') ORDER BY outcome = 'done' DESC, id LIMIT 1",
            (run_id,),
        )
        row = cursor.fetchone()
        return str(row[0]) if row else ""


def reimports_with_backup(database_url: str) -> list[dict[str, Any]]:
    """Return backup_id, run_id and started_at of each committed reimport that has made a backup."""
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(
            "SELECT backup_id::text, run_id, started_at FROM fm_pipeline.reimports WHERE backup_id IS NOT NULL"
        )
        return [dict(row) for row in cursor.fetchall()]


def last_change_at(database_url: str) -> datetime | None:
    """Return when the last reimport that was committed began, or the last sync was committed or undone; None before."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT greatest((SELECT max(started_at) FROM fm_pipeline.reimports),"
            " (SELECT greatest(max(committed_at), max(undone_at)) FROM fm_pipeline.syncs))"
        )
        at: datetime | None
        ((at,),) = cursor.fetchall()
        return at


def last_run_report(database_url: str, action: str, *, subject: str = "", dry_run: bool | None = None) -> Any:
    """Return the newest report of an action, with run_id, at, dry_run and subject; None if there is none.

    Args:
        subject: for example the id of a backup; empty: any.
        dry_run: None: any.
    """
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        if not has_table(cursor, "fm_pipeline.run_reports"):
            return None
        cursor.execute(
            "SELECT run_id, at, dry_run, subject, report FROM fm_pipeline.run_reports WHERE action = %s"
            " AND (%s = '' OR subject = %s) AND dry_run = coalesce(%s, dry_run) ORDER BY at DESC LIMIT 1",
            (action, subject, subject, dry_run),
        )
        row = cursor.fetchone()
        return dict(row) if row else None


def valid_dry_restore(database_url: str, backup_id: str) -> Any:
    """Return the last dry run of a restore; None if a run has changed Nexus since, which it did not see."""
    tried = last_run_report(database_url, "restore", subject=backup_id, dry_run=True)
    if tried is None:
        return None
    restored = last_run_report(database_url, "restore", dry_run=False)
    changes = [at for at in (restored and restored["at"], last_change_at(database_url)) if at]
    return tried if all(tried["at"] > at for at in changes) else None


def _with_validity(database_url: str, run_id: str, reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add `is_valid` to the reports: of the dry run of a restore, whether the restore may follow it.

    And `undone`: the restore that has undone a restore; None for all others.
    """
    restores = Restores()
    if any(each["action"] == "restore" for each in reports):
        with connect(database_url) as connection:
            restores = read_restores(connection)
    for each in reports:
        is_restore = each["action"] == "restore" and not each["dry_run"]
        each["undone"] = restores.undone_by(each["at"]) if is_restore else None
        valid = None
        if each["action"] == "restore" and each["dry_run"] and each["subject"]:
            valid = valid_dry_restore(database_url, each["subject"])
        each["is_valid"] = valid is not None and valid["run_id"] == run_id
    return reports


def _none(what: str) -> RequestError:
    return RequestError(what, code=404, meaning="Nothing is shown.", remedy="Choose one from the history.")
