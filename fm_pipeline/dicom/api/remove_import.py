"""Take a mistaken import back: delete in Orthanc what one job brought, and nothing else.

Before each deletion Orthanc's file is compared by its MD5 with the file that the job sent: another file of the instance
stays. The record follows the deletions in small batches; after an interruption a new removal finds the rest, and what
was deleted without a record is found to be absent and recorded then. Meanwhile no import runs, since it could meet an
instance that is about to go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.audit import audited
from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import try_lock
from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.history.job_ledger import REMOVAL_LOCK
from fm_pipeline.dicom.history.jobs import read_job
from fm_pipeline.dicom.history.removals import (
    BroughtInstance,
    RemovableInstances,
    Removal,
    begin_removal,
    count_removable,
    end_removal,
    new_removal_id,
    next_removable,
    record_removed,
)
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.errors import LockStop, PlanStop, RequestError
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

_log = logging.getLogger(__name__)
_BATCH = 50  # deletions before they are recorded

OnRemoved = Callable[[str, int, int], object]


@dataclass(frozen=True)
class RemovalPlan:
    """What a removal would do, and the words that confirm it."""

    job_id: int
    instances: RemovableInstances

    @property
    def confirmation(self) -> str:
        """The words: job and number, so that they fit this job and this state only."""
        return f"remove {self.instances.removable} of job {self.job_id}"


def plan_removal(settings: Settings, job_id: int) -> RemovalPlan:
    """Count what a removal of a job would delete. Nothing is changed.

    Raises:
        RequestError: there is no such job (404).
    """
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        read_job(cursor, job_id)
        return RemovalPlan(job_id, count_removable(cursor, job_id))


def remove_import(
    settings: Settings,
    job_id: int,
    *,
    confirm: str,
    actor: str,
    run_id: str | None = None,
    on_progress: OnRemoved = lambda *_: None,
) -> Removal:
    """Delete in Orthanc what a job brought.

    Args:
        confirm: `RemovalPlan.confirmation`, typed by a person.
        actor: the user.
        on_progress: called with the name of the step, and how many of how many instances are done.

    Raises:
        RequestError: there is no such job, or it may still be carried out; cancel it first.
        PlanStop: the words are not those of the plan of this moment. Nothing was deleted.
        LockStop: an import or another removal is at work.
        OrthancError: Orthanc refused or did not answer. What was deleted is on record.
    """
    url = settings.nexus_database_url.get_secret_value()
    with (
        audited(url, actor=actor, action="dicom_set_aside", run_id=run_id),
        ReconnectingConnection(url, prepare=_exclude_imports) as database,
        Orthanc.from_settings(settings) as orthanc,
    ):

        def begin(cursor: Cursor) -> Removal:
            plan = RemovalPlan(job_id, count_removable(cursor, job_id))
            _refuse(read_job(cursor, job_id).status, plan, confirm)
            planned = plan.instances.removable
            return begin_removal(cursor, removal_id, job_id, planned=planned, requested_by=actor, run_id=run_id)

        removal_id = database.run(new_removal_id)
        removal = database.run(begin)
        _log.info("Removal %d of import job %d has begun.", removal.id, job_id)
        done, after = 0, ""
        while batch := database.run(lambda cursor, after=after: next_removable(cursor, job_id, after, _BATCH)):  # type: ignore[misc]
            after = batch[-1].orthanc_id
            removal = _remove_batch(database, orthanc, removal, batch)
            done += len(batch)
            on_progress("delete in Orthanc", done, removal.instances_planned)
        removal = database.run(lambda cursor: end_removal(cursor, removal))
        database.end(lambda cursor: cursor.execute("SELECT pg_advisory_unlock_all()"))
    _log.info("Removal %d is done: %s deleted.", removal.id, counted(removal.instances_deleted, "instance"))
    return removal


def _remove_batch(
    database: ReconnectingConnection, orthanc: Orthanc, removal: Removal, batch: list[BroughtInstance]
) -> Removal:
    """Delete some instances, and return the removal with the new counts."""
    deleted: list[str] = []
    absent: list[str] = []
    kept = 0
    try:
        for each in batch:
            held = orthanc.md5(each.orthanc_id)
            if held is not None and held != each.md5:
                kept += 1
            elif held is not None and orthanc.delete_instance(each.orthanc_id):
                deleted.append(each.orthanc_id)
            else:
                absent.append(each.orthanc_id)
    finally:
        counted = replace(
            removal,
            instances_deleted=removal.instances_deleted + len(deleted),
            instances_absent=removal.instances_absent + len(absent),
            instances_kept=removal.instances_kept + kept,
        )
        database.run(lambda cursor: record_removed(cursor, counted, [*deleted, *absent]))
    return counted


def _refuse(status: str, plan: RemovalPlan, confirm: str) -> None:
    if status in ("pending", "running"):
        raise RequestError(
            f"Import job {plan.job_id} is {status}.",
            code=409,
            meaning="Nothing was deleted.",
            remedy="Cancel it first.",
        )
    if not plan.instances.removable:
        raise RequestError(
            f"Orthanc holds nothing that only import job {plan.job_id} brought.",
            code=409,
            meaning="Nothing was deleted.",
        )
    if confirm != plan.confirmation:
        raise PlanStop(
            "The words that confirm the removal are not those of this moment.",
            meaning="Nothing was deleted.",
            remedy="Look at the numbers again and type the words that are shown there.",
        )


def _exclude_imports(cursor: Cursor) -> None:
    if not try_lock(cursor, REMOVAL_LOCK, until="session"):
        raise LockStop(
            "An import, or another removal, is at work.",
            meaning="No further instance was deleted.",
            remedy="Start again when it has ended.",
        )
