"""Plan and reimport: the same transaction, rolled back for a plan and committed for a reimport.

Everything is staged beforehand, so that locks are held only during the transaction. If anything fails, Nexus is
unchanged.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.audit import audited
from fm_pipeline.db.commit import commit, ignore_first_cancel
from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import wait_for_reimport_lock
from fm_pipeline.db.migrate import migrate
from fm_pipeline.db.queries import database_name
from fm_pipeline.entities.registry import Phase
from fm_pipeline.errors import LockStop, PlanStop
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport.difference import Difference
from fm_pipeline.nexus.reimport.plan import Permission, check_backup, no_plan, permitted_plan, store_plan
from fm_pipeline.nexus.reimport.plan_inputs import deciding_settings, reread_inputs
from fm_pipeline.nexus.reimport.report import ReimportReport
from fm_pipeline.nexus.reimport.stale_plan import refuse_stale
from fm_pipeline.nexus.reimport.transaction import OnPhase
from fm_pipeline.nexus.sync.baseline import forget_deleted, has_baseline, write_baseline
from fm_pipeline.nexus.sync.merge import Merged, keep_edits
from fm_pipeline.nexus.table_policy import Policy
from fm_pipeline.sequence.locked_transaction import LockedTransaction, Merge, locked
from fm_pipeline.settings import Settings
from fm_pipeline.staging.origin import forget_restored

MOMENT_SECONDS = 3  # an import of images writes a batch in less
_NOBODY = Permission("", "", "unknown")


@dataclass(frozen=True)
class ReimportPlan:
    """A stored plan: what a reimport would do, and the confirmation that it needs."""

    id: str
    confirmation: str
    report: ReimportReport


def make_plan(
    settings: Settings,
    *,
    now: datetime,
    actor: str,
    run_id: str | None = None,
    phases: Collection[Phase] = tuple(Phase),
    on_phase: OnPhase = lambda _: None,
) -> ReimportPlan:
    """Do everything that the reimport would do, roll it back, and store the report.

    Args, Raises: as `reimport`. Nexus is never changed.
    """
    url = settings.nexus_database_url.get_secret_value()
    with audited(url, actor=actor, action="plan", run_id=run_id):
        report = ReimportReport(str(uuid.uuid4()), run_id, now)
        with locked(settings, merge=keep_synced_edits(settings, now)) as held:
            held.run(report, phases, on_phase, planned=True)
            held.connection.rollback()
            plan_id = store_plan(held.gate, held.inputs, report, phases, requested_by=actor)
        return ReimportPlan(plan_id, held.inputs.confirmation, report)


def reimport(
    settings: Settings,
    *,
    now: datetime,
    permission: Permission | None,
    run_id: str | None = None,
    phases: Collection[Phase] = tuple(Phase),
    on_phase: OnPhase = lambda _: None,
) -> ReimportReport:
    """Load the staged rows into Nexus, in one transaction, as a plan has shown it.

    Args:
        settings: target, lock time-out, what happens to columns and tables that only Nexus fills.
        now: the time of the run, with a time zone; `created_at`/`updated_at` of written rows.
        permission: a plan and its confirmation; None is refused with an error that says what to do.
        run_id: Dagster's run id, stored with the record of the reimport.
        phases: a subset runs as one transaction too; validation always runs.
        on_phase: called after each phase, inside the transaction; if it raises, everything is rolled back.

    Returns:
        The report; `committed` is true.

    Raises:
        PlanStop: no plan, a stale one, a wrong confirmation, or no backup of exactly the rows that would change.
        StagingStop: the staged rows are incomplete, outdated, or break a rule whose action is `stop`.
        CatalogueStop: Nexus' schema does not allow it.
        LockStop: another reimport runs, or another session holds the tables.
        ValidationStop: the result did not pass validation.
        DatabaseError: PostgreSQL refused something, or the connection was lost. Nexus is unchanged in every case, and
            the message says so. If the connection was lost at COMMIT, the server is asked whether it was committed.
    """
    url = settings.nexus_database_url.get_secret_value()
    asked = permission or _NOBODY
    with ExitStack() as end, audited(url, actor=asked.actor, action="reimport", plan_id=asked.plan_uuid, run_id=run_id):
        if not asked.plan_id.strip():
            raise no_plan()
        report = ReimportReport(str(uuid.uuid4()), run_id, now)
        with locked(settings, merge=keep_synced_edits(settings, now)) as held:
            refuse_stale(permitted_plan(held.cursor, asked, phases), held.inputs)
            backup_id = check_backup(held.cursor, held.inputs)
            forget_deleted(held.cursor, _loaded(held, phases))
            held.run(report, phases, on_phase)
            report.committed = True
            _keep_baseline(held, settings, phases, now)
            _record(held.cursor, report, phases, asked, backup_id)
            end.enter_context(ignore_first_cancel())
            commit(held.connection, url)
    return report


def validate_plan_early(
    settings: Settings,
    permission: Permission | None,
    *,
    run_id: str | None = None,
    phases: Collection[Phase] = tuple(Phase),
    staged: bool = False,
) -> None:
    """Check without locks whether a plan can be carried out, before anything is read or backed up.

    A wrong confirmation, or a row that was edited since the plan, is then reported at once and not after an hour of
    reading; and nothing is staged while a reimport runs that makes the plan stale. `reimport` checks everything again
    under its locks.

    Args: as `reimport`.
        staged: FileMaker's records have been read and staged, so compare them with the plan too.

    Raises:
        CatalogueStop: Nexus lacks a table that is needed.
        LockStop: another reimport or a restore is writing.
        PlanStop: no plan, an unknown one, one that has been carried out, one for other phases, a wrong confirmation,
            or a stale one; the audit trail records it.
    """
    url = settings.nexus_database_url.get_secret_value()
    asked = permission or _NOBODY
    try:
        with connect(url) as connection, connection.cursor() as cursor:
            planned = permitted_plan(cursor, asked, phases)
            now = replace(planned, database=database_name(cursor), settings=deciding_settings(settings))
            refuse_stale(planned, now)  # for another database or schema, nothing else needs to be read
            wait_for_reimport_lock(connection, MOMENT_SECONDS)
            connection.rollback()  # releases the lock at once
            catalogue = read_catalogue(cursor, settings.nexus_schema)
            refuse_stale(planned, reread_inputs(cursor, planned, catalogue, settings, staged=staged))
    except (PlanStop, LockStop):
        migrate(url)  # so that the refusal can be recorded in a database that is new to the pipeline
        with audited(url, actor=asked.actor, action="reimport", plan_id=asked.plan_uuid, run_id=run_id):
            raise


def keep_synced_edits(settings: Settings, now: datetime) -> Merge:
    """Return the merge of a reimport: values that a sync has kept stay, unless NEXUS_SYNC_EDITS is `replace`."""

    def merge(cursor: Cursor, policy: Policy, differences: Sequence[Difference]) -> Merged:
        if not has_baseline(cursor):
            return Merged(list(differences), [])
        merged = keep_edits(cursor, policy, differences, now=now)
        if settings.nexus_sync_edits == "keep":
            return merged
        return Merged(list(differences), [replace(each, kept=False) for each in merged.decisions])

    return merge


def _keep_baseline(held: LockedTransaction, settings: Settings, phases: Collection[Phase], now: datetime) -> None:
    """Store what a sync compares with, where one is used."""
    if settings.filemaker_sync or has_baseline(held.cursor):
        write_baseline(held.cursor, _loaded(held, phases), now, reimported=True)
    if {*Phase} <= {*phases}:
        forget_restored(held.cursor)


def _loaded(held: LockedTransaction, phases: Collection[Phase]) -> list[Difference]:
    return [each for each in held.staged if each.entity.phase in phases]


def _record(
    cursor: Cursor, report: ReimportReport, phases: Collection[Phase], permission: Permission, backup_id: str
) -> None:
    """Record the reimport in its own transaction, so that the row exists only if it was committed."""
    cursor.execute(
        "INSERT INTO fm_pipeline.reimports (id, run_id, phases, started_at, report, plan_id, backup_id, requested_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            report.id,
            report.run_id,
            [phase.name.lower() for phase in sorted(phases)],
            report.started_at,
            json.dumps(report.as_dict()),
            permission.plan_id,
            backup_id,
            permission.actor,
        ),
    )
