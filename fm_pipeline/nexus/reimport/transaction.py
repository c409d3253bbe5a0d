"""Runs the phases of the one transaction: delete, load, relink, validate. Its callers commit or roll back.

They have the numbers 2 to 8. Phase 0 is preflight, staging and backup; phase 1 the system configuration, which stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import count
from fm_pipeline.db.table import Table
from fm_pipeline.entities.registry import Phase
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.checks import Check, raise_if_failed
from fm_pipeline.nexus.crosswalk import learn_retired_ids, record_new_rows
from fm_pipeline.nexus.reimport import trigger_checks, validation
from fm_pipeline.nexus.reimport.delete_rows import delete_rows
from fm_pipeline.nexus.reimport.difference import Difference, gone
from fm_pipeline.nexus.reimport.exchanged_values import update_changed
from fm_pipeline.nexus.reimport.files_of_gone_patients import FilesOfGonePatients, apply_decision
from fm_pipeline.nexus.reimport.other_writes import (
    TableStates,
    check_nothing_else_written,
    find_altered_tables,
    read_table_states,
)
from fm_pipeline.nexus.reimport.patient_counts import Counts, compare_counts, count_patients
from fm_pipeline.nexus.reimport.references import repoint_references
from fm_pipeline.nexus.reimport.relink import RelinkResult, patient_content_type, relink
from fm_pipeline.nexus.reimport.report import PhaseRecord, ReimportReport, TableChange
from fm_pipeline.nexus.reimport.soft_references import repoint_soft_references
from fm_pipeline.nexus.reimport.unfit_values import unfit_values_named
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS
from fm_pipeline.nexus.table_policy import Policy
from fm_pipeline.pluralize import counted

OnPhase = Callable[[PhaseRecord], None]

# It starts from the few rows to be deleted: without their statistics, PostgreSQL reads all records.
_KNOWN_IN = """
WITH known AS MATERIALIZED (
    SELECT c.filemaker_key FROM {gone} g JOIN fm_pipeline.crosswalk c ON c.entity = %(entity)s AND c.nexus_id = g.id
    UNION ALL
    SELECT r.filemaker_key FROM {gone} g JOIN fm_pipeline.retired_patient_ids r
         ON %(entity)s = 'patient' AND r.nexus_id = g.id
)
SELECT (SELECT count(*) FROM known k WHERE EXISTS (SELECT FROM fm_pipeline.source_records s
        WHERE s.entity = %(entity)s AND s.filemaker_key = k.filemaker_key)),
       (SELECT count(*) FROM known k WHERE EXISTS (SELECT FROM {staged} s WHERE s.filemaker_key = k.filemaker_key))
"""


@dataclass
class Transaction:
    """State of one transaction while its phases run.

    Attributes:
        planned: whether it will be rolled back, so that its sentences say what would happen.
    """

    cursor: Cursor
    other: Cursor  # of another connection, which sees the tables as they were
    catalogue: Catalogue
    policy: Policy
    differences: list[Difference]
    phases: Collection[Phase]
    now: datetime
    report: ReimportReport
    on_phase: OnPhase
    rows_before: Mapping[str, int]  # of the tables that may be touched, by name
    planned: bool = False
    files: FilesOfGonePatients = field(default_factory=FilesOfGonePatients)
    patient_type: int = 0
    protected: Mapping[Table, int] = field(default_factory=dict)
    forms: TableStates = field(default_factory=dict)
    patients_before: Counts = field(default_factory=dict)
    repointed: dict[Table, set[str]] = field(default_factory=dict)  # columns with changed references, by table

    def run(self) -> None:
        """Run the requested phases in their order; validation always runs."""
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
        """Read what the validation compares with, and prepare the report."""
        self.cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        self.patient_type = patient_content_type(self.cursor, self.catalogue)
        learn_retired_ids(self.cursor, self.catalogue, self.patient_type)
        self.protected = validation.count_protected(self.cursor, self.catalogue)
        self.forms = read_table_states(self.cursor)
        self.patients_before = count_patients(self.cursor, self.catalogue)
        for table in self.policy.tables_losing_rows:
            self.report.tables[table.name] = TableChange(table.name, before=self.rows_before[str(table)])

    def _delete(self) -> tuple[str, int]:
        gone_rows = {d.table: d.find_rows_to_delete(self.cursor) for d in self.differences}
        for table in self.policy.cleared:
            self.cursor.execute(
                sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT id FROM {}").format(
                    gone(table), table.identifier
                )
            )
            gone_rows[table] = self.cursor.rowcount
        fed = {d.table.name: list(d.updates) for d in self.differences}
        changed_references = [
            *repoint_references(self.cursor, self.policy, fed, gone_rows),
            *repoint_soft_references(self.cursor, self.policy),
        ]
        for changed in changed_references:
            if changed.repointed or changed.set_to_null:
                self.repointed.setdefault(changed.reference.table, set()).add(changed.reference.column)
            self.report.references.append(
                {
                    "table": str(changed.reference.table),
                    "column": changed.reference.column,
                    "to": changed.reference.to.name,
                    "repointed": changed.repointed,
                    "set_to_null": changed.set_to_null,
                    **({"kept": changed.kept} if changed.kept else {}),
                }
            )
        unlinked, in_filemaker = self._count_unlinked(), self._count_in_filemaker()
        deleted = delete_rows(self.cursor, self.policy)
        for name, rows in deleted.items():
            self._change(name, deleted=rows, without_filemaker_id=unlinked[name], **in_filemaker.get(name, {}))
        done = "Would delete" if self.planned else "Deleted"
        others = sum(deleted.values()) - deleted["patients"] - deleted["appointments"]
        return (
            f"{done} {counted(deleted['patients'], 'patient')}, {counted(deleted['appointments'], 'appointment')} and"
            f" {counted(others, 'other row')} that have no staged record",
            sum(deleted.values()),
        )

    def _count_unlinked(self) -> dict[str, int]:
        """Count the rows to be deleted that are linked to no FileMaker record."""
        counts = {}
        for table in self.policy.tables_losing_rows:
            entity = self.policy.entity_of(table)
            self.cursor.execute(
                sql.SQL(
                    "SELECT count(*) FROM {} g WHERE NOT EXISTS (SELECT 1 FROM fm_pipeline.crosswalk c"
                    " WHERE c.entity = %(entity)s AND c.nexus_id = g.id) AND NOT EXISTS (SELECT 1 FROM"
                    " fm_pipeline.retired_patient_ids r WHERE %(entity)s = 'patient' AND r.nexus_id = g.id)"
                ).format(gone(table)),
                {"entity": entity.name if entity else ""},
            )
            counts[table.name] = count(self.cursor)
        return counts

    def _count_in_filemaker(self) -> dict[str, dict[str, int]]:
        """Count the rows to be deleted whose record FileMaker has: not loaded, or loaded as another row."""
        counts = {}
        for difference in self.differences:
            staged = sql.Identifier("fm_pipeline", difference.entity.staged_table)
            self.cursor.execute(
                sql.SQL(_KNOWN_IN).format(gone=gone(difference.table), staged=staged),
                {"entity": difference.entity.name},
            )
            ((read, replaced),) = self.cursor.fetchall()
            counts[difference.table.name] = {"kept_out": read - replaced, "replaced": replaced}
        return counts

    def _load(self, phase: Phase) -> tuple[str, int]:
        parts, records = [], 0
        for difference in self.differences:
            if difference.entity.phase is not phase:
                continue
            columns = self.catalogue.columns[difference.table]
            with unfit_values_named(self.cursor, difference, columns, self.now):
                reset = difference.count_reset(self.cursor, self.now)
                updated = update_changed(self.cursor, difference, columns, self.now)
                inserted = difference.insert(self.cursor, self.now)
            record_new_rows(self.cursor, difference.entity.name, difference.staged)
            change = self._change(difference.table.name, updated=updated, inserted=inserted, reset=reset)
            staged = inserted + change.before - change.deleted
            parts.append(
                f"{staged:,} {difference.table.name.replace('_', ' ')}"
                f" ({inserted:,} new, {updated:,} changed, {staged - inserted - updated:,} equal)"
            )
            records += staged
        imported = "Would import" if self.planned else "Imported"
        return f"{imported} {', '.join(parts) or 'nothing: no source is staged'}", records

    def _documents(self) -> tuple[str, int]:
        self.report.documents = self._relink(DOCUMENTS)
        return self._linked("documents", self.report.documents)

    def _images(self) -> tuple[str, int]:
        self.report.batches = self._relink(BATCHES)
        return self._linked("image batches", self.report.batches)

    def _relink(self, name: str) -> RelinkResult:
        table = self.catalogue.table(name)
        relinked = relink(self.cursor, self.catalogue, table, self.patient_type, self.now)
        if Phase.DELETE not in self.phases:
            return relinked
        return apply_decision(self.cursor, self.catalogue, table, self.patient_type, self.files, relinked, self.now)

    def _linked(self, files: str, relinked: RelinkResult) -> tuple[str, int]:
        linked = relinked.already + relinked.relinked + len(relinked.archived)
        have, relinked_words = ("would have", "would be re-linked") if self.planned else ("have", "re-linked")
        return (
            f"{linked:,} of {relinked.total:,} {files} {have} their patient ({relinked.relinked:,} {relinked_words})",
            linked,
        )

    def _validate(self) -> tuple[str, int]:
        self.cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        relinked = [self.catalogue.table(name) for name in (DOCUMENTS, BATCHES)]
        written = [*self.policy.tables_losing_rows, *relinked, *self.repointed]
        growing, read = self.policy.growing, [*written, *self.protected]
        if find_altered_tables(
            self.cursor, self.forms, read
        ):  # the other connection would wait forever to read these tables
            raise_if_failed([check_nothing_else_written(self.cursor, self.forms, written, growing, compared=read)])
        self.report.patients_by = compare_counts(self.patients_before, count_patients(self.cursor, self.catalogue))
        checks: list[Check] = []
        deleted = Phase.DELETE in self.phases
        for difference in self.differences:
            if difference.entity.phase in self.phases:
                checks += validation.check_loaded(self.cursor, difference, self.now, deleted=deleted)
        loaded = {d.table for d in self.differences if deleted and d.entity.phase in self.phases}
        for table in self.policy.tables_losing_rows:
            if table not in loaded:
                change = self.report.tables[table.name]
                checks.append(validation.check_rows(self.cursor, table, change.after))
        if deleted:
            checks += validation.check_duplicates(self.cursor, self.catalogue, self.policy.entities)
            checks += validation.check_orphans(self.cursor, self.catalogue, self.patient_type)
            checks.append(trigger_checks.check_rows_deleted(self.cursor, self.policy.tables_losing_rows))
        checks += self._check_trigger_side_effects()
        checks += validation.check_protected(self.cursor, self.other, self.catalogue, self.protected, self.patient_type)
        checks += validation.check_relinked(self.cursor, self.catalogue, self.patient_type)
        checks.append(check_nothing_else_written(self.cursor, self.forms, written, growing, self.other))
        self.report.checks = checks
        raise_if_failed(checks)
        return "All validation checks passed", len(checks)

    def _check_trigger_side_effects(self) -> list[Check]:
        """Check for side effects of triggers and rules on the written rows."""
        checks = []
        for difference in self.differences:
            updated = difference.updates if difference.entity.phase in self.phases else ()
            written = {*updated, *self.repointed.get(difference.table, ())}
            checks.append(
                trigger_checks.check_kept_columns(self.cursor, self.other, self.catalogue, difference, written)
            )
        relinked = [self.catalogue.table(name) for name in (DOCUMENTS, BATCHES)]
        others = {
            table: columns
            for table, columns in self.repointed.items()
            if table not in (*self.policy.tables_losing_rows, *relinked)
        }
        return checks + trigger_checks.check_other_columns_unchanged(
            self.cursor, self.other, self.catalogue, others, self.policy.growing
        )

    def _change(self, table: str, **rows: int) -> TableChange:
        self.report.tables[table] = replace(self.report.tables[table], **rows)  # type: ignore[arg-type]  # all counts
        return self.report.tables[table]
