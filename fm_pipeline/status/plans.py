"""One plan, or the reimport of one run, with its stored report: counts and ids, no patient data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import RealDictCursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.undoing_restores import Restore, read_restores

_PLAN = """
    SELECT p.id::text, p.run_id, p.requested_by, p.created_at, p.inputs, p.report,
           r.id IS NOT NULL AS carried_out, r.run_id AS carried_out_by, r.started_at, r.backup_id::text
    FROM fm_pipeline.plans p LEFT JOIN fm_pipeline.reimports r ON r.plan_id = p.id
"""


@dataclass(frozen=True)
class StoredPlan:
    """A plan.

    Attributes:
        report: `ReimportReport.as_dict()` of the run that was rolled back.
        database, patients: what the confirmation names.
        carried_out_at: when the reimport changed Nexus.
        carried_out_by: the run that carried it out; None if none has, or if no run is on record.
        undone_by: the restore that has undone the reimport; None if Nexus has it.
    """

    id: str
    run_id: str | None
    requested_by: str
    created_at: datetime
    report: Mapping[str, Any]
    database: str
    patients: int
    carried_out: bool
    carried_out_by: str | None
    undone_by: Restore | None = None
    carried_out_at: datetime | None = None

    @property
    def dagster_run(self) -> str | None:
        """The run of Dagster that carried it out; None if a command did, or nobody."""
        run_id = self.carried_out_by or ""
        return run_id if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", run_id) else None

    @property
    def confirmation(self) -> str:
        """The words that permit the reimport."""
        return f"{self.database} {self.patients}"


def read_plan(database_url: str, plan_id: str) -> StoredPlan:
    """Return a plan by its id.

    Raises:
        RequestError: there is no such plan (404).
    """
    if plan := _find(database_url, "WHERE p.id::text = %s", plan_id):
        return plan
    raise RequestError("There is no plan of that id in this database.", code=404, remedy="Make a new one.")


def plan_of_run(database_url: str, run_id: str) -> StoredPlan | None:
    """Return the plan that a run has made, or None."""
    return _find(database_url, "WHERE p.run_id = %s", run_id)


def newest_plan(database_url: str) -> StoredPlan | None:
    """Return the newest plan, or None."""
    return _find(database_url, "WHERE %s ORDER BY p.created_at DESC LIMIT 1", True)


def report_of_reimport(database_url: str, run_id: str) -> tuple[Mapping[str, Any] | None, Restore | None]:
    """Return the report of the reimport that a run has committed, or None; and the restore that has undone it."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.reimports"):
            return None, None
        cursor.execute(
            "SELECT report, started_at, backup_id::text FROM fm_pipeline.reimports WHERE run_id = %s", (run_id,)
        )
        if row := cursor.fetchone():
            return row[0], read_restores(connection).undone_by(*row[1:])
        return None, None


def _find(database_url: str, condition: str, value: object) -> StoredPlan | None:
    with connect(database_url) as connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        if not has_table(cursor, "fm_pipeline.reimports"):
            return None
        cursor.execute(f"{_PLAN} {condition}", (value,))
        row = cursor.fetchone()
        if row is None:
            return None
        inputs, at, backup_id = row.pop("inputs"), row.pop("started_at"), row.pop("backup_id")
        undone = read_restores(connection).undone_by(at, backup_id) if at else None
        names = {"database": inputs["database"], "patients": inputs["patients"]}
        return StoredPlan(**row, **names, carried_out_at=at, undone_by=undone)
