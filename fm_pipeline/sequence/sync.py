"""A sync: what changed in FileMaker since the last time goes into Nexus, and what users edited in Nexus stays.

It is a reimport of merged rows (`nexus/sync/merge.py`), in the same transaction, with the same checks. It deletes no
letters, no reminders, and no rows that were made in Nexus.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.audit import audited
from fm_pipeline.db.commit import commit, ignore_first_cancel
from fm_pipeline.db.connection import connect
from fm_pipeline.entities.registry import Phase
from fm_pipeline.errors import ValidationStop
from fm_pipeline.nexus.reimport.difference import Difference
from fm_pipeline.nexus.reimport.losses import unexpected_patients
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.nexus.reimport.plan_inputs import Inputs
from fm_pipeline.nexus.reimport.report import ReimportReport
from fm_pipeline.nexus.reimport.stale_plan import refuse_stale
from fm_pipeline.nexus.reimport.transaction import OnPhase, Transaction
from fm_pipeline.nexus.sync.baseline import acknowledge, has_baseline, write_baseline
from fm_pipeline.nexus.sync.before_images import store_before_images
from fm_pipeline.nexus.sync.decisions import Decision, store_decisions
from fm_pipeline.nexus.sync.merge import ColumnPolicies, Merged, merge
from fm_pipeline.nexus.sync.syncs import (
    Deletions,
    SyncStatus,
    read_deletions,
    refuse_more_than_shown,
    store_sync,
    waiting_sync,
)
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS
from fm_pipeline.nexus.table_policy import Policy
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.locked_transaction import LockedTransaction, locked
from fm_pipeline.sequence.nothing_new import find_nothing_new
from fm_pipeline.settings import Settings
from fm_pipeline.staging.origin import forget_restored, was_restored

# What a reimport deletes or empties, a sync keeps.
_KEEPING = {
    "nexus_only_columns": "keep",
    "nexus_letters": "keep",
    "nexus_reminders": "keep",
    "nexus_soft_references": "keep",
    "nexus_files_of_gone_patients": "stop",
}


@dataclass(frozen=True)
class SyncResult:
    """What a sync did, or what waits for a person.

    Attributes:
        confirmation: the words that a person has to type to let it go on.
        deletions: Nexus ids of the rows that are or would be deleted, by entity.
        why: why it waits, in sentences.
    """

    id: str
    status: SyncStatus
    confirmation: str
    report: ReimportReport
    deletions: Deletions
    decisions: Sequence[Decision]
    why: Sequence[str] = ()

    @property
    def conflicts(self) -> list[Decision]:
        """The decisions that a person has to know."""
        return [each for each in self.decisions if each.is_conflict]


def sync_staged(
    settings: Settings,
    *,
    now: datetime,
    actor: str,
    run_id: str | None = None,
    permission: Permission | None = None,
    policies: ColumnPolicies | None = None,
    staged_again: bool = True,
    on_phase: OnPhase = lambda _: None,
) -> SyncResult:
    """Merge the staged rows into Nexus, in one transaction; without a permission only as far as the settings allow.

    Args:
        settings: as for a reimport; `filemaker_sync_changes` says how many rows may change without a person.
        now: the time of the run, with a time zone.
        actor: for the audit trail.
        permission: names a sync that waits, with its confirmation; None to look and to commit what the settings allow.
        policies: which side wins, by entity and column.
        staged_again: False if nothing was staged since the last sync. If nothing is to be done either, that is then
            found out without the transaction and its locks.
        on_phase: called after each phase, inside the transaction; if it raises, everything is rolled back.

    Returns:
        What was committed, or what waits. Nothing was changed if it waits or nothing is new.

    Raises:
        PlanStop: the permission names no sync that waits, FileMaker was read again since, or there are deletions or
            conflicts that nobody has seen.
        StagingStop, CatalogueStop, LockStop, ValidationStop, DatabaseError: as `sequence.reimport.reimport`.
    """
    url = settings.nexus_database_url.get_secret_value()
    kept = settings.model_copy(update=_KEEPING)
    sync_id, plan_id = str(uuid.uuid4()), permission.plan_id.strip().lower() if permission else None
    audit_id = permission.plan_uuid if permission else None

    def merge_all(cursor: Cursor, policy: Policy, differences: Sequence[Difference]) -> Merged:
        return merge(cursor, policy, differences, now=now, policies=policies or {}, time_zone=kept.clinic_time_zone)

    with ExitStack() as end, audited(url, actor=actor, action="sync", plan_id=audit_id, run_id=run_id):
        report = ReimportReport(sync_id, run_id, now)
        if not staged_again and not permission and (nothing := find_nothing_new(kept, merge_all)):
            with connect(url) as connection, connection.cursor() as cursor:
                store_sync(
                    cursor,
                    sync_id,
                    "nothing_new",
                    run_id=run_id,
                    requested_by=actor,
                    now=now,
                    inputs=nothing.inputs,
                    report=report.as_dict(),
                    deletions={},
                )
                store_decisions(cursor, sync_id, nothing.decisions)
                connection.commit()
            return SyncResult(sync_id, "nothing_new", nothing.inputs.confirmation, report, {}, nothing.decisions)
        with locked(kept, merge=merge_all, is_sync=True) as held:
            deletions, decisions = read_deletions(held.cursor, held.staged), held.merged.decisions
            inputs = _with_policies(held.inputs, policies)
            waiting = waiting_sync(held.cursor, permission) if permission else None
            if waiting:
                refuse_stale(waiting.inputs, inputs.with_target_of(waiting.inputs))
                refuse_more_than_shown(waiting, deletions, decisions)
            transaction = held.run(report, tuple(Phase), on_phase, planned=permission is None)
            _refuse_repointed(transaction)
            report.warnings = [] if waiting else _warnings(held.cursor, report)
            why = [] if waiting else _why_it_waits(settings, report, deletions, decisions)
            status: SyncStatus = "waits" if why else "committed" if waiting or report.changed_rows else "nothing_new"
            report.committed = status == "committed"
            if status == "waits":
                held.connection.rollback()
            cursor = held.gate.cursor() if status == "waits" else held.cursor
            store_sync(
                cursor,
                sync_id,
                status,
                run_id=run_id,
                requested_by=actor,
                now=now,
                inputs=inputs,
                report=report.as_dict(),
                deletions=deletions,
                plan_id=plan_id,
            )
            store_decisions(cursor, sync_id, decisions)
            if status == "waits":
                held.gate.commit()
            else:
                _store_states(held, sync_id, now)
                end.enter_context(ignore_first_cancel())
                commit(held.connection, url)
    return SyncResult(sync_id, status, held.inputs.confirmation, report, deletions, decisions, why)


def _with_policies(inputs: Inputs, policies: ColumnPolicies | None) -> Inputs:
    """Return the inputs with what the profile says of columns: a sync that waits is tied to it as to a setting."""
    said = json.dumps({entity: dict(columns) for entity, columns in (policies or {}).items()}, sort_keys=True)
    return replace(inputs, settings={**inputs.settings, "sync_policies": said})


def _store_states(held: LockedTransaction, sync_id: str, now: datetime) -> None:
    """Store the rows as they were, and what the next sync compares with."""
    policy, catalogue = held.policy, held.catalogue
    with held.gate.cursor() as other:
        files = [catalogue.table(name) for name in (DOCUMENTS, BATCHES)]
        store_before_images(held.cursor, other, catalogue, sync_id, policy.tables_losing_rows, files)
    write_baseline(held.cursor, held.staged, now)
    forget_restored(held.cursor)
    acknowledge(held.cursor, held.staged, now)


def _warnings(cursor: Cursor, report: ReimportReport) -> list[str]:
    """Return what a person should look at, however few rows would change."""
    found = [*unexpected_patients(report.as_dict(), done=False)]
    if report.changed_rows and not has_baseline(cursor):
        found.append(
            "It is not known what FileMaker and Nexus had before: there was no full reimport with FILEMAKER_SYNC=true,"
            " or the pipeline's tables were lost. A row that was edited since may come a second time."
        )
    if report.changed_rows and was_restored(cursor):
        found.append(
            "FileMaker's file seems to have been restored from a backup, or FILEMAKER_DATABASE names another file than"
            " before. What was made or changed in FileMaker after the backup may be in Nexus alone now."
        )
    return found


def _why_it_waits(
    settings: Settings, report: ReimportReport, deletions: Deletions, decisions: Sequence[Decision]
) -> list[str]:
    """Return why a person has to see it first; nothing if it may be committed."""
    why = list(report.warnings)
    rows = sum(map(len, deletions.values()))
    if rows:
        why.append(f"{counted(rows, 'row')} would be deleted.")
    if conflicts := sum(each.is_conflict for each in decisions):
        why.append(f"{counted(conflicts, 'value or row was', 'values or rows were')} changed on both sides.")
    if report.changed_rows > settings.filemaker_sync_changes:
        why.append(
            f"{counted(report.changed_rows, 'row')} would change; without a person, {settings.filemaker_sync_changes:,}"
            " may (setting FILEMAKER_SYNC_CHANGES)."
        )
    return why


def _refuse_repointed(transaction: Transaction) -> None:
    """Stop if a reference of another table was changed: a sync keeps every row that something refers to."""
    if transaction.repointed:
        tables = ", ".join(sorted(map(str, transaction.repointed)))
        raise ValidationStop(
            f"The sync would change references in {tables}.",
            meaning="A row that something refers to must stay. The transaction was rolled back; Nexus is unchanged.",
            remedy="Make a plan and a full reimport, which says what happens to these references.",
        )
