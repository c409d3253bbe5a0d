"""The one transaction: delete, load, relink, validate, commit. If anything is wrong, Nexus is what it was.

Phases 2 to 8 of the seed "import sequence". Everything that can be prepared was staged before; the locks are held
only for the time of this transaction.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import psycopg2
import psycopg2.errors
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.errors import DatabaseError, Stop
from fm_pipeline.nexus import validation
from fm_pipeline.nexus.catalogue import Catalogue, Table, read_catalogue
from fm_pipeline.nexus.crosswalk import learn_retired_ids, record_new_rows
from fm_pipeline.nexus.database import connect
from fm_pipeline.nexus.difference import Difference, count, gone, plan_difference
from fm_pipeline.nexus.digest import Digest
from fm_pipeline.nexus.locks import lock_stop, lock_tables, take_reimport_lock
from fm_pipeline.nexus.policy import BATCHES, DOCUMENTS, Phase, Policy, make_policy
from fm_pipeline.nexus.references import delete_gone, find_references, mend_references
from fm_pipeline.nexus.relink import patient_content_type, relink_batches, relink_documents
from fm_pipeline.nexus.report import PhaseRecord, ReimportReport, TableChange
from fm_pipeline.settings import Settings
from fm_pipeline.staging.check import check_staging, source_ends, staged_columns

ALL_PHASES = tuple(Phase)
OnPhase = Callable[[PhaseRecord], None]


@dataclass
class Cutover:
    """State of one transaction while its phases run."""

    settings: Settings
    cursor: Cursor
    catalogue: Catalogue
    policy: Policy
    differences: list[Difference]
    phases: Collection[Phase]
    now: datetime
    report: ReimportReport
    on_phase: OnPhase
    patient_type: int = 0
    protected: dict[str, Digest] = field(default_factory=dict)
    mended_tables: list[Table] = field(default_factory=list)

    def run(self) -> None:
        """All phases asked for, in their order, and validation always."""
        self._prepare()
        steps = {
            Phase.DELETE: self._delete,
            Phase.PATIENTS: lambda: self._load(Phase.PATIENTS),
            Phase.APPOINTMENTS: lambda: self._load(Phase.APPOINTMENTS),
            Phase.NOTES: lambda: self._load(Phase.NOTES),
            Phase.DOCUMENTS: self._documents,
            Phase.IMAGES: self._images,
            Phase.VALIDATION: self._validate,
        }
        for phase, step in steps.items():
            if phase in self.phases or phase is Phase.VALIDATION:
                started = time.monotonic()
                sentence, records = step()
                record = PhaseRecord(int(phase), sentence, records, round(time.monotonic() - started, 3))
                self.report.phases.append(record)
                self.on_phase(record)

    def _prepare(self) -> None:
        """What validation compares with, and the rows that go."""
        self.cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        self.patient_type = patient_content_type(self.cursor, self.catalogue)
        learn_retired_ids(self.cursor, self.catalogue, self.patient_type)
        self.protected = validation.protected_digests(self.cursor, self.catalogue)
        for table in self.policy.emptied:
            self.cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(table.identifier))
            self.report.tables[table.name] = TableChange(table.name, before=count(self.cursor))

    def _delete(self) -> tuple[str, int]:
        gone_rows = {d.table: d.find_gone(self.cursor) for d in self.differences}
        for table in self.policy.cleared:
            self.cursor.execute(
                sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT id FROM {}").format(
                    gone(table), table.identifier
                )
            )
            gone_rows[table] = self.cursor.rowcount
        fed = {d.table.name: list(d.updates) for d in self.differences}
        for mended in mend_references(self.cursor, self.policy, fed, gone_rows):
            self.mended_tables.append(mended.reference.table)
            self.report.references.append(
                {
                    "table": str(mended.reference.table),
                    "column": mended.reference.column,
                    "to": mended.reference.to.name,
                    "repointed": mended.repointed,
                    "set_to_null": mended.set_to_null,
                }
            )
        deleted = delete_gone(self.cursor, self.policy)
        for name, rows in deleted.items():
            self._change(name, deleted=rows)
        return (
            f"Deleted {deleted['patients']:,} patients, {deleted['appointments']:,} appointments and"
            f" {sum(deleted.values()) - deleted['patients'] - deleted['appointments']:,} other rows that the new"
            " set does not have",
            sum(deleted.values()),
        )

    def _load(self, phase: Phase) -> tuple[str, int]:
        parts, records = [], 0
        for difference in self.differences:
            if difference.load.phase is not phase:
                continue
            updated = difference.update(self.cursor, self.now)
            inserted = difference.insert(self.cursor, self.now)
            record_new_rows(self.cursor, difference.load)
            change = self._change(difference.table.name, updated=updated, inserted=inserted)
            staged = inserted + change.before - change.deleted
            parts.append(
                f"{staged:,} {difference.table.name.replace('_', ' ')}"
                f" ({inserted:,} new, {updated:,} changed, {staged - inserted - updated:,} equal)"
            )
            records += staged
        return f"Imported {', '.join(parts) or 'nothing: no source is staged'}", records

    def _documents(self) -> tuple[str, int]:
        relinked = relink_documents(self.cursor, self.catalogue, self.patient_type, self.now)
        self.report.documents = relinked
        linked = relinked.already + relinked.relinked
        return (
            f"{linked:,} of {relinked.total:,} documents have their patient ({relinked.relinked:,} re-linked)",
            linked,
        )

    def _images(self) -> tuple[str, int]:
        relinked = relink_batches(self.cursor, self.catalogue, self.patient_type, self.now)
        self.report.batches = relinked
        linked = relinked.already + relinked.relinked
        return (
            f"{linked:,} of {relinked.total:,} image batches have their patient ({relinked.relinked:,} re-linked)",
            linked,
        )

    def _validate(self) -> tuple[str, int]:
        self.cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        checks: list[validation.Check] = []
        deleted = Phase.DELETE in self.phases
        for difference in self.differences:
            if difference.load.phase in self.phases:
                checks += validation.check_loaded(self.cursor, difference, self.now, deleted=deleted)
        if deleted:
            checks += validation.check_duplicates(self.cursor, self.catalogue)
            checks += validation.check_orphans(self.cursor, self.catalogue)
        checks += validation.check_protected(self.protected, validation.protected_digests(self.cursor, self.catalogue))
        relinked = [self.catalogue.table(name) for name in (DOCUMENTS, BATCHES)]
        written = [*self.policy.emptied, *relinked, *self.mended_tables]
        checks.append(validation.check_nothing_else_written(self.cursor, self.catalogue, written))
        self.report.checks = checks
        validation.refuse_failed(checks)
        return "All validation checks passed", len(checks)

    def _change(self, table: str, **rows: int) -> TableChange:
        old = self.report.tables[table]
        merged = {"deleted": old.deleted, "inserted": old.inserted, "updated": old.updated} | rows
        self.report.tables[table] = TableChange(table, old.before, **merged)
        return self.report.tables[table]


def reimport(
    settings: Settings,
    *,
    now: datetime,
    run_id: str | None = None,
    phases: Collection[Phase] = ALL_PHASES,
    on_phase: OnPhase = lambda record: None,
) -> ReimportReport:
    """Bring Nexus to what is staged, in one transaction.

    Args:
        settings: target, lock time-out, what happens to columns and tables that only Nexus knows.
        now: the time of the run, with a zone; `created_at`/`updated_at` of written rows.
        run_id: Dagster's run id, kept with the record of the reimport.
        phases: a subset runs as one transaction too; validation always runs.
        on_phase: called after each phase, inside the transaction; what it raises rolls everything back.

    Returns:
        What was done; `committed` is true.

    Raises:
        StagingStop: the staged rows are incomplete, outdated, or break a rule whose action is `stop`.
        CatalogueStop: Nexus' schema does not allow it.
        LockStop: another reimport, or somebody else who holds the tables.
        ValidationStop: the result is not what it must be.
        DatabaseError: PostgreSQL refused something, or was lost. In every case Nexus is unchanged, and the message
            says so; if the connection was lost at COMMIT, the database is asked what became of it.
    """
    url = settings.nexus_database_url.get_secret_value()
    with connect(url) as gate, connect(url) as connection:
        take_reimport_lock(gate)
        with connection.cursor() as cursor:
            check_staging(connection)
            for table in ("staged_patients", "staged_appointments", "staged_notes", "staged_sms_messages"):
                cursor.execute(sql.SQL("ANALYZE {}").format(sql.Identifier("fm_pipeline", table)))
            catalogue = read_catalogue(cursor, settings.nexus_schema)
            fed = staged_columns(cursor)
            policy = make_policy(catalogue, fed, letters=settings.nexus_letters, reminders=settings.nexus_reminders)
            differences = [
                plan_difference(load, catalogue, fed[load.entity], settings.nexus_only_columns) for load in policy.loads
            ]
            tables = _tables_to_lock(cursor, policy, {d.table.name: list(d.updates) for d in differences})
        connection.commit()
        report = ReimportReport(str(uuid.uuid4()), run_id, now)
        connection.set_session(isolation_level="REPEATABLE READ")
        with connection.cursor() as cursor:
            with _who_is_in_the_way(connection, gate, tables, settings.nexus_lock_timeout_seconds):
                lock_tables(cursor, tables, settings.nexus_lock_timeout_seconds)
                _refuse_a_changed_schema(catalogue, read_catalogue(cursor, settings.nexus_schema))
                report.sources = source_ends(connection)
                Cutover(settings, cursor, catalogue, policy, differences, phases, now, report, on_phase).run()
            transaction = _record(cursor, report, phases)
        _commit(connection, url, report, transaction)
    return report


def _tables_to_lock(cursor: Cursor, policy: Policy, fed: dict[str, list[str]]) -> list[Table]:
    """Patients first, then everything that loses rows, is relinked, or may point to a row that goes."""
    tables = policy.emptied + [policy.catalogue.table(name) for name in (DOCUMENTS, BATCHES)]
    references = sorted({r.table for r in find_references(cursor, policy, fed, policy.emptied)} - set(tables))
    return tables + references


def _refuse_a_changed_schema(before: Catalogue, now: Catalogue) -> None:
    if before.fingerprint != now.fingerprint:
        raise Stop(
            "The tables of Nexus changed while the reimport was being prepared (a migration of the application?).",
            meaning="Nothing was changed.",
            remedy="Start again when the migration has ended.",
        )


@contextmanager
def _who_is_in_the_way(connection: Connection, gate: Connection, tables: list[Table], timeout: float) -> Iterator[None]:
    try:
        yield
    except psycopg2.errors.LockNotAvailable:
        stop = lock_stop(connection, gate, tables, timeout)
        connection.rollback()
        raise stop from None


def _record(cursor: Cursor, report: ReimportReport, phases: Collection[Phase]) -> str:
    """Write the row that is there if and only if the transaction was committed; returns the transaction's id."""
    report.committed = True
    cursor.execute(
        "INSERT INTO fm_pipeline.reimports (id, run_id, phases, started_at, report) VALUES (%s, %s, %s, %s, %s)",
        (
            report.id,
            report.run_id,
            [phase.name.lower() for phase in sorted(phases)],
            report.started_at,
            json.dumps(report.as_dict()),
        ),
    )
    cursor.execute("SELECT pg_current_xact_id()::text")
    row = cursor.fetchone()
    return str(row[0]) if row else "0"


def _commit(connection: Connection, url: str, report: ReimportReport, transaction: str) -> None:
    """Commit; if the connection is lost while it happens, ask the database what became of it."""
    try:
        connection.commit()
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        if not was_committed(url, transaction):
            report.committed = False
            raise DatabaseError(
                "The connection to PostgreSQL was lost at COMMIT.",
                sqlstate="08006",
                meaning="The database was asked: the transaction was not committed, Nexus is unchanged.",
                remedy="Find out why the server ended the connection, then start again.",
            ) from None


def was_committed(url: str, transaction: str, *, patience_seconds: float = 120) -> bool:
    """Whether a transaction was committed; waits for a server that is starting again or still at it.

    Args:
        transaction: as `pg_current_xact_id()` gave it.

    Raises:
        DatabaseError: the server stays away, so that nobody can know yet.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with connect(url) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_xact_status(%s::xid8)", (transaction,))
                row = cursor.fetchone()
                if row and row[0] != "in progress":
                    return bool(row[0] == "committed")
        except DatabaseError:
            if time.monotonic() > deadline:
                raise DatabaseError(
                    "The connection to PostgreSQL was lost at COMMIT and the server does not come back.",
                    sqlstate="08007",
                    meaning="Nexus is either as before or completely reimported, never between.",
                    remedy=f"When the server runs again, ask it: SELECT pg_xact_status('{transaction}'::xid8).",
                ) from None
        time.sleep(1)
