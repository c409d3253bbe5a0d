"""Restores a backup: all of its rows, in one transaction, under the locks of a reimport.

The target may be another server, if the application has created its tables there.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.audit import audited, operating_system_user
from fm_pipeline.db.commit import commit, ignore_first_cancel
from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import acquire_reimport_lock, explain_lock_timeouts, lock_tables
from fm_pipeline.db.privileges import missing_privileges
from fm_pipeline.db.queries import database_name, has_table
from fm_pipeline.db.run_reports import RUN_REPORTS, add_run_report, store_run_report
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.backup.backup import ignore_progress
from fm_pipeline.nexus.backup.files import BackupStop, read_key
from fm_pipeline.nexus.backup.manifest import Manifest, read_manifest
from fm_pipeline.nexus.backup.restore_connection import connect_for_restore, refuse_other_database
from fm_pipeline.nexus.backup.restore_load import load_tables
from fm_pipeline.nexus.backup.restore_numbers import translate_numbers
from fm_pipeline.nexus.backup.restore_rows import Restoration
from fm_pipeline.nexus.backup.restore_state import NewerRows, NewerRowsPolicy
from fm_pipeline.nexus.backup.restore_tables import LoadedTable, RestoredTable, changed_words
from fm_pipeline.nexus.backup.rows import BackupScope, OnProgress, find_scope, prepare_session
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.catalogue.table_details import advance_sequences, columns_of, is_wider
from fm_pipeline.nexus.catalogue.unread_columns import unread_columns
from fm_pipeline.nexus.grants import RESTORE
from fm_pipeline.nexus.reimport.other_writes import parse_trigger_tables
from fm_pipeline.nexus.sync.baseline import has_baseline
from fm_pipeline.nexus.unexpected_patients import erased_ids
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings


@dataclass
class RestoreReport:
    """What a restore did, or would do.

    Attributes:
        confirmation: the words that a person has to type.
        notes: differences of the schema, and what is left to do, in sentences.
        newer: what was done with rows that were created after the backup and could not stay as they were.
    """

    backup_id: str
    confirmation: str
    notes: list[str] = field(default_factory=list)
    tables: list[RestoredTable] = field(default_factory=list)
    newer: list[NewerRows] = field(default_factory=list)
    seconds: float = 0.0
    committed: bool = False

    @property
    def changed_rows(self) -> int:
        """Rows written."""
        return sum(table.changed for table in self.tables)

    def changed_words(self) -> str:
        """Return the same in words, those of the pipeline's own tables apart."""
        return changed_words(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON: tables that are not as in the backup, counts, ids and sentences."""
        return {
            "backup_id": self.backup_id,
            "confirmation": self.confirmation,
            "committed": self.committed,
            "changed_rows": self.changed_rows,
            "seconds": round(self.seconds, 3),
            "tables": [asdict(table) for table in self.tables if table.changed or table.newer],
            "notes": [rows.sentence() for rows in self.newer] + self.notes,
        }


def restore(
    settings: Settings,
    folder: Path,
    *,
    confirm: str,
    dry_run: bool = False,
    newer: NewerRowsPolicy = "stop",
    actor: str | None = None,
    run_id: str | None = None,
    on_progress: OnProgress = ignore_progress,
) -> RestoreReport:
    """Restore every row of a backup: ids, NULLs and empty texts as they were.

    Tables that a reimport loads become exactly what they were. In other tables, rows that users created since stay.

    Args:
        settings: the target database, and the role for restores; BACKUP_KEY if the backup is encrypted.
        folder: of the backup.
        confirm: `<database> <number of patients in the backup>`, typed by a person; a dry run needs none.
        dry_run: do everything, report it, roll it back.
        newer: what to do with rows that were created after the backup and cannot stay as they are.
        actor: who requested it, for the audit trail.
        run_id: under which the report is stored, if it is given: in the same transaction, so that a restore that was
            killed after its COMMIT is known to have undone what it has undone. That of a dry run is stored after it.

    Raises:
        BackupStop: the backup is damaged, truncated, incomplete or has another key; it does not fit the tables; the
            role may not write them; the confirmation is wrong; rows that were created since cannot stay; or rows break
            a constraint that the role may not drop.
        SettingsError: RESTORE_DATABASE_URL leads to another database than NEXUS_DATABASE_URL.
        LockStop: a reimport runs, or another session holds the tables.
        DatabaseError: PostgreSQL refused something, or the connection was lost. Nexus is unchanged in every case; if
            the connection was lost at COMMIT, the server is asked whether the transaction was committed.
    """
    url = settings.nexus_database_url.get_secret_value()
    started = time.monotonic()
    asked = actor or operating_system_user()
    about = "A dry run: all of it is rolled back." if dry_run else ""

    def as_stored() -> dict[str, Any]:
        return report.as_dict() | {"newer_policy": newer}

    with ExitStack() as end, audited(url, actor=asked, action="restore", run_id=run_id, about=about):
        key = read_key(settings)
        manifest = read_manifest(folder, key)
        with connect(url) as gate, connect_for_restore(settings) as connection:
            refuse_other_database(settings, gate, connection)
            acquire_reimport_lock(gate)
            # Not REPEATABLE READ: the scratch tables are filled before the locks, and what is seen must be after.
            connection.set_session(isolation_level="READ COMMITTED")
            with connection.cursor() as cursor:
                report = RestoreReport(manifest.id, f"{database_name(cursor)} {manifest.patients}")
                if not dry_run:
                    _check_confirmation(confirm, report.confirmation)
                prepare_session(cursor, settings)
                scope = find_scope(cursor, settings)
                report.notes += _check_schema(cursor, scope.catalogue, manifest)
                _check_privileges(cursor, manifest, scope.touched, reports=run_id is not None)
                loaded = load_tables(cursor, scope.catalogue, folder, manifest, key, on_progress)
                on_progress("restore", 0, None)
                tables = _tables_to_lock(scope, manifest)
                timeout = settings.nexus_lock_timeout_seconds
                with explain_lock_timeouts(connection, gate, tables, timeout):
                    lock_tables(cursor, tables, timeout)
                    _check_schema_is_unchanged(cursor, scope.catalogue)
                    inserted = _write_rows(cursor, settings, scope.catalogue, manifest, loaded, newer, report)
                on_progress("restore", 1, 1)
                report.notes += (_about_syncs(cursor) if report.changed_rows else []) + _about_erased(
                    cursor, scope.catalogue
                )
                if dry_run:
                    connection.rollback()
                else:
                    report.notes += advance_sequences(cursor, inserted)
                    report.committed, report.seconds = True, round(time.monotonic() - started, 3)
                    if run_id:
                        add_run_report(cursor, run_id, "restore", as_stored(), subject=manifest.id)
                    end.enter_context(ignore_first_cancel())
                    commit(connection, url)
    report.seconds = round(time.monotonic() - started, 3)
    if dry_run and run_id:
        store_run_report(url, run_id, "restore", as_stored(), dry_run=True, subject=manifest.id)
    return report


def _about_syncs(cursor: Cursor) -> list[str]:
    """Say what a sync makes of the restored rows: it cannot tell them from what users did."""
    if not has_table(cursor, "fm_pipeline.synced_rows") or not has_baseline(cursor):
        return []
    return [
        "A sync takes the restored values for edits and keeps them, and does not insert again what the restore has"
        " removed. If FileMaker is to count again, make a plan and a full reimport before the next sync. After a sync,"
        " the reimport needs NEXUS_SYNC_EDITS=replace for it."
    ]


def _about_erased(cursor: Cursor, catalogue: Catalogue) -> list[str]:
    """Say which patients the restore has brought back who were erased since the backup."""
    cursor.execute(
        sql.SQL(
            "SELECT p.id::text FROM {} p"
            " LEFT JOIN fm_pipeline.crosswalk c ON c.entity = 'patient' AND c.nexus_id = p.id"
            " WHERE p.id::text = ANY(%(ids)s) OR lower(c.filemaker_key) = ANY(%(ids)s) ORDER BY 1"
        ).format(catalogue.table("patients").identifier),
        {"ids": erased_ids(cursor)},
    )
    back = [row[0] for row in cursor.fetchall()]
    if not back:
        return []
    return [
        f"{counted(len(back), 'patient')} who had been erased {'is' if len(back) == 1 else 'are'} in Nexus again:"
        f" {', '.join(back)}. Delete and erase them again."
    ]


def _check_confirmation(given: str, expected: str) -> None:
    if given.split() != expected.split():
        raise BackupStop(
            "The confirmation does not name this database and the number of patients in the backup.",
            meaning="Nothing was changed.",
            remedy="Check that this is the database that you mean; a dry run shows the words to type.",
        )


def _tables_to_lock(scope: BackupScope, manifest: Manifest) -> list[Table]:
    """Return the tables that a reimport could touch today, then those that only the backup has rows of."""
    others = [t.table for t in manifest.tables if t.role != "referenced" and t.table not in scope.touched]
    return scope.touched + others


def _check_schema_is_unchanged(cursor: Cursor, catalogue: Catalogue) -> None:
    if read_catalogue(cursor, catalogue.schema).fingerprint != catalogue.fingerprint:
        raise BackupStop(
            "The tables of Nexus changed while the restore was being prepared (a migration?).",
            meaning="Nothing was changed.",
            remedy="Start again when the migration has ended.",
        )


def _write_rows(
    cursor: Cursor,
    settings: Settings,
    catalogue: Catalogue,
    manifest: Manifest,
    loaded: list[LoadedTable],
    newer: NewerRowsPolicy,
    report: RestoreReport,
) -> list[Table]:
    """Write the rows of the scratch tables and add to the report what was done.

    Returns:
        The tables that got new rows.
    """
    loaded, notes = translate_numbers(cursor, catalogue, manifest, loaded)
    trigger_tables = parse_trigger_tables(catalogue, settings.nexus_trigger_tables)
    restoration = Restoration(cursor, catalogue, loaded, newer, growing=trigger_tables)
    report.tables = restoration.run()
    report.notes += notes + restoration.notes + _without_secrets(restoration)
    report.newer = restoration.newer_rows
    return [table for table, result in restoration.results.items() if result.inserted]


def _without_secrets(restoration: Restoration) -> list[str]:
    """Say, in sentences, which added rows lack what no backup holds."""
    notes = []
    for loaded in restoration.tables:
        table, added = loaded.backup.table, restoration.results[loaded.target].inserted
        secrets = unread_columns(restoration.catalogue, loaded.target) if loaded.backup.role == "referenced" else {}
        missing = [name for name in secrets if name not in loaded.backup.names]
        if added and "password" in missing:
            notes.append(
                f"{counted(added, 'account')} of {table} came back without a password, which no backup holds: nobody"
                " can log in with one of them until an administrator of Nexus sets a new password."
            )
        if added and (others := [name for name in missing if name != "password"]):
            notes.append(
                f"{counted(added, 'row')} of {table} came back without {', '.join(others)}, which no backup holds: an"
                " administrator of Nexus has to enter such values again where they are used."
            )
    return notes


def _check_schema(cursor: Cursor, catalogue: Catalogue, manifest: Manifest) -> list[str]:
    """Check that the tables can take the rows; return harmless differences as sentences.

    Raises:
        BackupStop: lists every table and column that does not fit.
    """
    faults, notes = [], []
    own = [table.table for table in manifest.tables if table.table not in catalogue.columns]
    existing = [table for table in own if has_table(cursor, table.identifier.as_string(cursor))]
    for backup in manifest.tables:
        table = backup.table
        if table not in catalogue.columns and table not in existing:
            faults.append(f"{table} is missing")
            continue
        types = {column.name: column.type for column in columns_of(cursor, table)}
        for column in backup.columns:
            if column.name not in types:
                faults.append(f"{table}.{column.name} is missing")
            elif is_wider(column.type, types[column.name]):
                notes.append(f"{table}.{column.name} is {types[column.name]}, was {column.type}: every value fits.")
            elif types[column.name] != column.type:
                faults.append(f"{table}.{column.name} is {types[column.name]}, was {column.type}")
        for name in sorted(types.keys() - set(backup.names)):
            if backup.role == "referenced" and name in unread_columns(catalogue, table):
                continue  # filled when the row is added
            if table in catalogue.columns and catalogue.columns[table][name].must_be_given:
                faults.append(f"{table}.{name} is new and must be given")
            else:
                notes.append(f"{table}.{name} is newer than the backup: restored rows get its default.")
    if faults:
        raise BackupStop(
            f"The backup does not fit the tables of this database: {'; '.join(faults)}.",
            meaning="It was made by another release of Nexus. Nothing was changed.",
            remedy="Bring the application back to the release that it had when the backup was made, then start again.",
        )
    if catalogue.fingerprint != manifest.schema:
        notes.insert(0, "The schema is not what it was when the backup was made; every column of the backup fits.")
    return notes


def _check_privileges(cursor: Cursor, manifest: Manifest, touched: list[Table], *, reports: bool) -> None:
    """Check the privileges on all tables before anything is read, so that one error names all that are missing.

    Args:
        reports: whether a report will be stored.

    Raises:
        BackupStop: contains the GRANT statements for what the role lacks.
    """
    needs: dict[Table, set[str]] = {table: {"UPDATE"} for table in touched}
    needs |= {backup.table: RESTORE[backup.role] for backup in manifest.tables if backup.role in RESTORE}
    if reports:
        needs[RUN_REPORTS] = {"INSERT"}
    missing = missing_privileges(cursor, needs)
    if not missing:
        return
    cursor.execute("SELECT quote_ident(current_user)")
    (role,) = cursor.fetchone() or ("",)
    tables: dict[str, list[str]] = {}
    for table, privileges in sorted(missing.items()):
        tables.setdefault(", ".join(sorted(privileges)), []).append(table.identifier.as_string(cursor))
    grants = " ".join(f"GRANT {words} ON {', '.join(names)} TO {role};" for words, names in sorted(tables.items()))
    raise BackupStop(
        f"The role {role} may not write everything that a restore has to.",
        meaning="Nothing was changed.",
        remedy="Let RESTORE_DATABASE_URL name the role that `fm-pipeline grants` makes for restores. Or grant the"
        f" privileges: {grants}",
    )
