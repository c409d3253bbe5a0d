"""The open transaction of a plan, a reimport or a sync: prepared from a snapshot, then locked, then confirmed.

Everything is staged beforehand, so that locks are held only during the transaction. If anything fails, Nexus is
unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg2.errors
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect, database_error
from fm_pipeline.db.locks import acquire_reimport_lock, explain_lock_timeouts, lock_tables
from fm_pipeline.entities.registry import Phase
from fm_pipeline.errors import CatalogueStop, DatabaseError, Stop
from fm_pipeline.nexus.backup.verify import find_untested_parts
from fm_pipeline.nexus.catalogue.not_valid_constraints import (
    IDS_SHOWN,
    find_unrestorable_rows,
    ids_of_violating_rows,
    violated_not_valid_constraint,
)
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.reimport.difference import Difference, plan_difference, unlinked_rows
from fm_pipeline.nexus.reimport.files_of_gone_patients import FilesOfGonePatients
from fm_pipeline.nexus.reimport.plan_inputs import Inputs, read_inputs
from fm_pipeline.nexus.reimport.references import touched_tables
from fm_pipeline.nexus.reimport.report import ReimportReport, SourceOutcomes
from fm_pipeline.nexus.reimport.soft_references import with_soft_references
from fm_pipeline.nexus.reimport.transaction import OnPhase, Transaction
from fm_pipeline.nexus.staged_registry import read_left_out, read_registry
from fm_pipeline.nexus.sync.merge import Merged
from fm_pipeline.nexus.table_policy import Policy, make_policy, require_loadable_tables
from fm_pipeline.nexus.unexpected_patients import find_erased, find_other_people
from fm_pipeline.settings import Settings
from fm_pipeline.staging.check import Broken, source_outcomes, staged_columns
from fm_pipeline.staging.run import check_staged
from fm_pipeline.staging.source_size import SOURCE_RULES

Merge = Callable[[Cursor, Policy, Sequence[Difference]], Merged]


@dataclass(frozen=True)
class LockedTransaction:
    """The open transaction with its locks.

    Attributes:
        staged: the differences between what is staged and Nexus.
        merged: those that are loaded, after what users edited in Nexus was looked at.
    """

    connection: Connection
    gate: Connection
    cursor: Cursor
    catalogue: Catalogue
    policy: Policy
    staged: list[Difference]
    merged: Merged
    files: FilesOfGonePatients
    inputs: Inputs
    sources: list[SourceOutcomes]
    accepted: list[Broken]
    restore: list[str]
    left_out: list[str]

    def run(
        self, report: ReimportReport, phases: Collection[Phase], on_phase: OnPhase, *, planned: bool = False
    ) -> Transaction:
        """Run all phases, without ending the transaction."""
        report.sources = self.sources
        report.accepted = [{"entity": each.entity, "rule": each.rule, "found": each.found} for each in self.accepted]
        report.restore, report.left_out = self.restore, self.left_out
        report.kept_edits = [each.as_dict() for each in self.merged.decisions]
        if Phase.PATIENTS in phases:
            report.erased = find_erased(self.cursor, self.merged.differences)
            report.other_people = find_other_people(self.cursor, self.merged.differences)
        with self.gate.cursor() as other:
            transaction = Transaction(
                self.cursor,
                other,
                self.catalogue,
                self.policy,
                self.merged.differences,
                phases,
                report.started_at,
                report,
                on_phase,
                {name: digest.rows for name, digest in self.inputs.target.items()},
                planned,
                self.files,
            )
            transaction.run()
        return transaction


@contextmanager
def locked(settings: Settings, *, merge: Merge, is_sync: bool = False) -> Iterator[LockedTransaction]:
    """Prepare, lock, and read the state that the transaction starts from; roll back at the end unless it committed.

    What can be read before the locks is read in one snapshot before them. Under the locks it is only confirmed.

    Args:
        merge: called under the locks, so that it sees every save of a user.
        is_sync: files of patients that FileMaker does not have do not stop it, because it keeps these patients; and
            the inputs have only the numbers of Nexus' rows.
    """
    url = settings.nexus_database_url.get_secret_value()
    with connect(url) as gate, connect(url) as connection:
        acquire_reimport_lock(gate)
        connection.set_session(isolation_level="REPEATABLE READ")
        with connection.cursor() as cursor:
            catalogue = read_catalogue(cursor, settings.nexus_schema)
            require_loadable_tables(catalogue)
            broken = check_staged(connection, settings, files=not is_sync)
            accepted = [each for each in broken if each.rule in SOURCE_RULES]
            policy, files, differences = plan_changes(cursor, catalogue, settings)
            written = {d.table.name: list(d.updates) for d in differences}
            policy = with_soft_references(cursor, policy, settings, written, files.kept)
            tables = touched_tables(cursor, policy, written)
            _refuse_unrestorable_rows(cursor, policy)
            restore = find_untested_parts(cursor, tables)
            sources, left_out = source_outcomes(connection), read_left_out(cursor)
            reading = read_inputs(cursor, catalogue, tables, settings, counted=is_sync)
        connection.commit()
        with (
            connection.cursor() as cursor,
            explain_lock_timeouts(connection, gate, tables, settings.nexus_lock_timeout_seconds),
        ):
            lock_tables(cursor, tables, settings.nexus_lock_timeout_seconds)
            _refuse_changed_schema(catalogue, read_catalogue(cursor, settings.nexus_schema))
            inputs = reading.confirmed(cursor).inputs
            with _unchanged(gate, differences):
                merged = merge(cursor, policy, differences)
                yield LockedTransaction(
                    *(connection, gate, cursor, catalogue, policy, differences, merged, files, inputs, sources),
                    accepted=accepted,
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
            plan_difference(entity, catalogue, fed[entity.name], settings.nexus_only_columns),
            kept=files.kept if entity.name == "patient" else unlinked_rows(cursor, catalogue, entity),
        )
        for entity in policy.entities
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
