"""Plans and permissions: nothing is changed without a plan that a person has read and confirmed.

A plan is a reimport that was rolled back. It is tied to its inputs: the staged rows, every table that a reimport may
touch, the schema, the settings. The reimport names the plan, and `stale_plan.py` refuses it if any of them has changed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import has_table
from fm_pipeline.entities.registry import Phase
from fm_pipeline.errors import PlanStop
from fm_pipeline.nexus.reimport.plan_inputs import Inputs
from fm_pipeline.nexus.reimport.report import ReimportReport

HOW_TO = (
    "Make a plan (job plan_reimport, or fm-pipeline plan), read it, then launch full_reimport with plan_id and"
    " confirm (or fm-pipeline reimport --plan ID --confirm ...)."
)


@dataclass(frozen=True)
class Permission:
    """The permission for a reimport: who requests it, by which plan, with which confirmation.

    Attributes:
        confirm: `<database> <number of patients in Nexus>`, typed by a person.
        actor: for the audit trail.
    """

    plan_id: str
    confirm: str
    actor: str

    @property
    def plan_uuid(self) -> str | None:
        """The plan's id for the audit trail; None if the typed text is no uuid."""
        try:
            return str(uuid.UUID(self.plan_id.strip()))
        except ValueError:
            return None


def store_plan(
    connection: Connection, inputs: Inputs, report: ReimportReport, phases: Collection[Phase], *, requested_by: str
) -> str:
    """Store a plan and commit; return its id."""
    plan_id = str(uuid.uuid4())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fm_pipeline.plans (id, run_id, requested_by, created_at, phases, inputs, report)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                plan_id,
                report.run_id,
                requested_by,
                report.started_at,
                _names(phases),
                json.dumps(inputs.as_dict()),
                json.dumps(report.as_dict()),
            ),
        )
    connection.commit()
    return plan_id


def no_plan() -> PlanStop:
    """Return the error for a reimport that names no plan."""
    return PlanStop(
        "A reimport needs a plan and a confirmation.",
        meaning="It would delete and change patient data. Nothing was changed.",
        remedy=HOW_TO,
    )


def usable_plan(cursor: Cursor, plan_id: str) -> tuple[Mapping[str, Any], list[str]]:
    """Return the inputs and phases of a plan that can still be carried out.

    Raises:
        PlanStop: none is named, there is no such plan, or it has been carried out.
    """
    if not plan_id.strip():
        raise no_plan()
    row = None
    if has_table(cursor, "fm_pipeline.reimports") and has_table(cursor, "fm_pipeline.plans"):
        cursor.execute(
            "SELECT inputs, phases, (SELECT count(*) FROM fm_pipeline.reimports r WHERE r.plan_id = p.id)"
            " FROM fm_pipeline.plans p WHERE id::text = %s",
            (plan_id.strip().lower(),),
        )
        row = cursor.fetchone()
    if row is None:
        raise PlanStop("There is no plan of that id in this database.", meaning="Nothing was changed.", remedy=HOW_TO)
    inputs, phases, used = row
    if used:
        raise PlanStop("The plan has been carried out already.", meaning="Nothing was changed.", remedy=HOW_TO)
    return inputs, phases


def permitted_plan(cursor: Cursor, permission: Permission, phases: Collection[Phase]) -> Inputs:
    """Return the inputs of a plan that can still be carried out, is for these phases, and was confirmed correctly.

    Raises:
        PlanStop: it is not such a plan; says what to do.
    """
    content, planned_phases = usable_plan(cursor, permission.plan_id)
    if sorted(planned_phases) != sorted(_names(phases)):
        raise PlanStop(
            f"The plan is for the phases {', '.join(planned_phases)}, not for {', '.join(_names(phases))}.",
            meaning="Nothing was changed.",
            remedy="Select all phases, as the job full_reimport does.",
        )
    planned = Inputs.from_dict(content)
    if permission.confirm.split() != planned.confirmation.split():
        raise PlanStop(
            "The confirmation does not name this database and its number of patients.",
            meaning="The words must be the database's name and the number of patients that Nexus has."
            " Nothing was changed.",
            remedy="Check that this is the database that you mean; the plan shows the words to type.",
        )
    return planned


def check_backup(cursor: Cursor, inputs: Inputs) -> str:
    """Return the id of a verified backup of exactly the rows that are about to change.

    It need not be the newest, because a clock that was once wrong must not hide the backup that was just made.

    Raises:
        PlanStop: there is no backup, or none of them has the current rows.
    """
    cursor.execute("SELECT id::text, digests FROM fm_pipeline.backups ORDER BY number DESC, created_at DESC")
    stale: list[str] = []
    for backup_id, digests in cursor.fetchall():
        changed = sorted(name for name, digest in inputs.target.items() if digests.get(name) != list(digest))
        if not changed:
            return str(backup_id)
        stale = stale or changed
    if not stale:
        raise PlanStop(
            "There is no verified backup.",
            meaning="Nothing was changed.",
            remedy="Materialize nexus_backup in the same run, or run fm-pipeline backup.",
        )
    raise PlanStop(
        f"The newest verified backup is not of the rows that Nexus has now ({', '.join(stale)}).",
        meaning="Somebody has changed them since. Nothing was changed by this run.",
        remedy="Make a backup and start again.",
    )


def _names(phases: Collection[Phase]) -> list[str]:
    """Return the names of the phases without validation, which always runs."""
    return [phase.name.lower() for phase in sorted(phases) if phase is not Phase.VALIDATION]
