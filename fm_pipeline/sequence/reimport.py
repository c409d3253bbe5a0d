"""Plan and reimport: the same transaction, rolled back for a plan and committed for a reimport.

Everything is staged beforehand, so that locks are held only during the transaction. If anything fails, Nexus is
unchanged.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import psycopg2.errors
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.audit import audited
from fm_pipeline.db.commit import commit, ignore_first_cancel
from fm_pipeline.db.connection import connect, database_error
from fm_pipeline.db.locks import acquire_reimport_lock, explain_lock_timeouts, lock_tables, wait_for_reimport_lock
from fm_pipeline.db.migrate import migrate
from fm_pipeline.entities.registry import Phase
from fm_pipeline.errors import CatalogueStop, DatabaseError, LockStop, PlanStop, Stop
from fm_pipeline.nexus.backup.verify import find_untested_parts
from fm_pipeline.nexus.catalogue.not_valid_constraints import (
    IDS_SHOWN,
    find_unrestorable_rows,
    ids_of_violating_rows,
    violated_not_valid_constraint,
)
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.policy import Policy, make_policy
from fm_pipeline.nexus.reimport.difference import Difference, plan_difference, unlinked_rows
from fm_pipeline.nexus.reimport.files_of_gone_patients import FilesOfGonePatients
from fm_pipeline.nexus.reimport.plan import Permission, check_backup, no_plan, permitted_plan, refuse_stale, store_plan
from fm_pipeline.nexus.reimport.plan_inputs import Inputs, database_name, deciding_settings, read_inputs, reread_inputs
from fm_pipeline.nexus.reimport.references import touched_tables
from fm_pipeline.nexus.reimport.report import ReimportReport, SourceOutcomes
from fm_pipeline.nexus.reimport.soft_references import with_soft_references
from fm_pipeline.nexus.reimport.transaction import OnPhase, Transaction
from fm_pipeline.nexus.staged_registry import read_left_out, read_registry
from fm_pipeline.settings import Settings
from fm_pipeline.staging.check import Broken, source_outcomes, staged_columns
from fm_pipeline.staging.run import check_staged
from fm_pipeline.staging.source_size import SOURCE_RULES

ALL_PHASES = tuple(Phase)
MOMENT_SECONDS = 3  # an import of images writes a batch in less
_NOBODY = Permission("", "", "unknown")


def _quiet(_: object) -> None:
    """Do nothing; the default for callers that show no progress."""


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
    phases: Collection[Phase] = ALL_PHASES,
    on_phase: OnPhase = _quiet,
) -> ReimportPlan:
    """Do everything that the reimport would do, roll it back, and store the report.

    Args, Raises: as `reimport`. Nexus is never changed.
    """
    url = settings.nexus_database_url.get_secret_value()
    with audited(url, actor=actor, action="plan", run_id=run_id):
        report = ReimportReport(str(uuid.uuid4()), run_id, now)
        with _locked(settings) as held:
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
    phases: Collection[Phase] = ALL_PHASES,
    on_phase: OnPhase = _quiet,
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
    plan_id = _uuid_or_none(asked.plan_id)
    with ExitStack() as end, audited(url, actor=asked.actor, action="reimport", plan_id=plan_id, run_id=run_id):
        if not asked.plan_id.strip():
            raise no_plan()
        report = ReimportReport(str(uuid.uuid4()), run_id, now)
        with _locked(settings) as held:
            refuse_stale(permitted_plan(held.cursor, asked, phases), held.inputs)
            backup_id = check_backup(held.cursor, held.inputs)
            held.run(report, phases, on_phase)
            report.committed = True
            _record(held.cursor, report, phases, asked, backup_id)
            end.enter_context(ignore_first_cancel())
            commit(held.connection, url)
    return report


def validate_plan_early(
    settings: Settings,
    permission: Permission | None,
    *,
    run_id: str | None = None,
    phases: Collection[Phase] = ALL_PHASES,
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
        with audited(url, actor=asked.actor, action="reimport", plan_id=_uuid_or_none(asked.plan_id), run_id=run_id):
            raise


@dataclass(frozen=True)
class _LockedTransaction:
    """The open transaction with its locks."""

    connection: Connection
    gate: Connection
    cursor: Cursor
    catalogue: Catalogue
    policy: Policy
    differences: list[Difference]
    files: FilesOfGonePatients
    inputs: Inputs
    sources: list[SourceOutcomes]
    accepted: list[Broken]
    restore: list[str]
    left_out: list[str]

    def run(
        self, report: ReimportReport, phases: Collection[Phase], on_phase: OnPhase, *, planned: bool = False
    ) -> None:
        """Run all phases, without ending the transaction."""
        report.sources = self.sources
        report.accepted = [{"entity": each.entity, "rule": each.rule, "found": each.found} for each in self.accepted]
        report.restore, report.left_out = self.restore, self.left_out
        with self.gate.cursor() as other:
            Transaction(
                self.cursor,
                other,
                self.catalogue,
                self.policy,
                self.differences,
                phases,
                report.started_at,
                report,
                on_phase,
                {name: digest.rows for name, digest in self.inputs.target.items()},
                planned,
                self.files,
            ).run()


@contextmanager
def _locked(settings: Settings) -> Iterator[_LockedTransaction]:
    """Prepare, lock, and read the state that the transaction starts from; roll back at the end unless it committed.

    What can be read before the locks is read in one snapshot before them. Under the locks it is only confirmed.
    """
    url = settings.nexus_database_url.get_secret_value()
    with connect(url) as gate, connect(url) as connection:
        acquire_reimport_lock(gate)
        connection.set_session(isolation_level="REPEATABLE READ")
        with connection.cursor() as cursor:
            accepted = [each for each in check_staged(connection, settings) if each.rule in SOURCE_RULES]
            catalogue = read_catalogue(cursor, settings.nexus_schema)
            policy, files, differences = plan_changes(cursor, catalogue, settings)
            written = {d.table.name: list(d.updates) for d in differences}
            policy = with_soft_references(cursor, policy, settings, written, files.kept)
            tables = touched_tables(cursor, policy, written)
            _refuse_unrestorable_rows(cursor, policy)
            restore = find_untested_parts(cursor, tables)
            sources, left_out = source_outcomes(connection), read_left_out(cursor)
            reading = read_inputs(cursor, catalogue, tables, settings)
        connection.commit()
        with (
            connection.cursor() as cursor,
            explain_lock_timeouts(connection, gate, tables, settings.nexus_lock_timeout_seconds),
        ):
            lock_tables(cursor, tables, settings.nexus_lock_timeout_seconds)
            _refuse_changed_schema(catalogue, read_catalogue(cursor, settings.nexus_schema))
            inputs = reading.confirmed(cursor).inputs
            with _unchanged(gate, differences):
                yield _LockedTransaction(
                    *(connection, gate, cursor, catalogue, policy, differences, files, inputs, sources, accepted),
                    restore=restore,
                    left_out=left_out,
                )


def plan_changes(
    cursor: Cursor, catalogue: Catalogue, settings: Settings
) -> tuple[Policy, FilesOfGonePatients, list[Difference]]:
    """Decide from the staged rows what happens to each table. Reads only.

    Raises:
        CatalogueStop: Nexus' schema does not allow it.
    """
    fed = staged_columns(cursor)
    letters, reminders = settings.nexus_letters, settings.nexus_reminders
    policy = make_policy(catalogue, fed, letters=letters, reminders=reminders, registry=read_registry(cursor))
    files = FilesOfGonePatients.of(settings).with_archive_patient(cursor, catalogue)
    differences = [
        replace(
            plan_difference(load, catalogue, fed[load.entity], settings.nexus_only_columns),
            kept=files.kept if load.entity == "patient" else unlinked_rows(cursor, catalogue, load),
        )
        for load in policy.loads
    ]
    return policy, files, differences


@contextmanager
def _unchanged(gate: Connection, differences: Sequence[Difference]) -> Iterator[None]:
    """Turn an error of PostgreSQL before the commit into one that says that Nexus is unchanged."""
    try:
        yield
    except psycopg2.errors.LockNotAvailable:  # `explain_lock_timeouts` names the session that holds the rows
        raise
    except psycopg2.Error as fault:
        _refuse_old_rows(gate, differences, fault)
        error = database_error(fault)
        raise DatabaseError(
            error.what,
            sqlstate=error.sqlstate,
            meaning=f"{error.meaning} The transaction was rolled back; Nexus is unchanged.".strip(),
            remedy=error.remedy,
        ) from None


def _refuse_old_rows(gate: Connection, differences: Sequence[Difference], fault: psycopg2.Error) -> None:
    """Stop if existing rows of Nexus break a constraint, in columns that FileMaker does not feed; names the rows."""
    for difference in differences:
        if difference.table.name != fault.diag.table_name or not isinstance(fault, psycopg2.IntegrityError):
            continue
        with gate.cursor() as cursor:
            constraint = violated_not_valid_constraint(cursor, difference.table, fault)
            if constraint is None or set(constraint.columns) & difference.written:
                return
            ids = ids_of_violating_rows(cursor, constraint)
        raise CatalogueStop(
            f"Rows of {difference.table} that FileMaker has changed break its NOT VALID constraint {constraint.name}."
            f" Rows that break it: {', '.join(ids)}{' and others' if len(ids) == IDS_SHOWN else ''}.",
            meaning="They broke it before it was made, in columns that only Nexus fills, and PostgreSQL refuses every"
            " change of such a row. The transaction was rolled back; Nexus is unchanged.",
            remedy=f"Correct these rows in Nexus (psql: \\d {difference.table} shows the constraint), then start"
            " again.",
        ) from None


def _refuse_unrestorable_rows(cursor: Cursor, policy: Policy) -> None:
    """Stop early if no restore could write rows again. The backup checks the same, but only after the confirmation."""
    rows = {table: table.identifier for table in policy.tables_losing_rows}
    if refused := find_unrestorable_rows(cursor, rows, {}):
        raise CatalogueStop(refused.what, meaning=f"{refused.meaning} Nothing was changed.", remedy=refused.remedy)


def _refuse_changed_schema(before: Catalogue, now: Catalogue) -> None:
    if before.fingerprint != now.fingerprint:
        raise Stop(
            "The tables of Nexus changed while the reimport was being prepared (a migration of the application?).",
            meaning="Nothing was changed.",
            remedy="Start again when the migration has ended.",
        )


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


def _uuid_or_none(text: str) -> str | None:
    """Return a plan's id for the audit trail, or None if the typed text is no uuid."""
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError:
        return None
