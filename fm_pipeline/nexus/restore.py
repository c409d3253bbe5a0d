"""The way back: every row of a backup, in one transaction, with the locks of a reimport.

Also into another server, where the application has made its tables.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyrage
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.nexus.audit import audited, operating_system_user
from fm_pipeline.nexus.backup import OnProgress, quiet
from fm_pipeline.nexus.backup_files import BackupStop, read_key
from fm_pipeline.nexus.backup_manifest import BackupColumn, BackupTable, Manifest, read_manifest
from fm_pipeline.nexus.backup_rows import find_scope, load_scratch, prepare_session
from fm_pipeline.nexus.catalogue import Catalogue, Table, read_catalogue
from fm_pipeline.nexus.commit import commit, too_late_to_cancel
from fm_pipeline.nexus.database import connect
from fm_pipeline.nexus.digest import table_digest
from fm_pipeline.nexus.locks import explain_lock_timeouts, lock_tables, take_reimport_lock
from fm_pipeline.nexus.other_writes import trigger_tables
from fm_pipeline.nexus.privileges import missing_privileges
from fm_pipeline.nexus.restore_rows import Restoration
from fm_pipeline.nexus.restore_tables import Loaded, TableRestored
from fm_pipeline.nexus.table_facts import advance_sequences, columns_of, generated_columns, is_wider, key_columns
from fm_pipeline.settings import Settings


@dataclass
class RestoreReport:
    """What a restore did, or would do.

    Attributes:
        confirmation: the words that permit it.
        notes: what the reader should know: differences of the schema, what is left to do.
    """

    backup_id: str
    confirmation: str
    notes: list[str] = field(default_factory=list)
    tables: list[TableRestored] = field(default_factory=list)
    seconds: float = 0.0
    committed: bool = False

    @property
    def changed_rows(self) -> int:
        """Rows written."""
        return sum(table.changed for table in self.tables)


def restore(
    settings: Settings,
    folder: Path,
    *,
    confirm: str,
    dry_run: bool = False,
    actor: str | None = None,
    run_id: str | None = None,
    on_progress: OnProgress = quiet,
) -> RestoreReport:
    """Bring back every row of a backup: ids, NULLs and empty texts as they were.

    Patients and what else a reimport loads become exactly what they were; elsewhere rows that users made since stay.

    Args:
        settings: where to; BACKUP_KEY if the backup is encrypted.
        folder: of the backup.
        confirm: `<database> <number of patients in the backup>`, typed by a person; a dry run needs none.
        dry_run: do everything, report it, roll it back.
        actor: who asked, for the audit trail.

    Raises:
        BackupStop: the backup is damaged, cut, incomplete or has another key; it does not fit the tables; the
            role may not write them; the confirmation is wrong; or rows made since stand in the way.
        LockStop: a reimport runs, or somebody holds the tables.
        DatabaseError: PostgreSQL refused something, or was lost. In every case Nexus is unchanged, and if the
            connection was lost at COMMIT, the database is asked what became of it.
    """
    url = settings.nexus_database_url.get_secret_value()
    started = time.monotonic()
    asked = actor or operating_system_user()
    with ExitStack() as end, audited(url, actor=asked, action="restore", run_id=run_id):
        key = read_key(settings)
        manifest = read_manifest(folder, key)
        with connect(url) as gate, connect(url) as connection:
            take_reimport_lock(gate)
            # Not REPEATABLE READ: the scratch tables are filled before the locks, and what is seen must be after.
            connection.set_session(isolation_level="READ COMMITTED")
            with connection.cursor() as cursor:
                report = RestoreReport(manifest.id, _confirmation(cursor, manifest))
                if not dry_run and confirm.split() != report.confirmation.split():
                    raise BackupStop(
                        "The confirmation does not name this database and the number of patients in the backup.",
                        meaning="Nothing was changed.",
                        remedy="Check that this is the database that you mean; a dry run shows the words to type.",
                    )
                prepare_session(cursor, settings)
                scope = find_scope(cursor, settings)
                report.notes += _fit(cursor, scope.catalogue, manifest)
                touched = [table for table, role in scope.roles.items() if role != "referenced"]
                others = [t.table for t in manifest.tables if t.role != "referenced" and t.table not in touched]
                _may_write(cursor, manifest, touched)
                loaded = _load(cursor, folder, manifest, key, on_progress)
                on_progress("restore", 0, None)
                timeout = settings.nexus_lock_timeout_seconds
                with explain_lock_timeouts(connection, gate, touched + others, timeout):
                    lock_tables(cursor, touched + others, timeout)
                    if read_catalogue(cursor, settings.nexus_schema).fingerprint != scope.catalogue.fingerprint:
                        raise BackupStop(
                            "The tables of Nexus changed while the restore was being prepared (a migration?).",
                            meaning="Nothing was changed.",
                            remedy="Start again when the migration has ended.",
                        )
                    restoration = Restoration(
                        cursor, scope.catalogue, loaded, trigger_tables(scope.catalogue, settings.nexus_trigger_tables)
                    )
                    report.tables = restoration.run()
                on_progress("restore", 1, 1)
                if dry_run:
                    connection.rollback()
                else:
                    report.notes += advance_sequences(
                        cursor, [table for table, result in restoration.results.items() if result.inserted]
                    )
                    end.enter_context(too_late_to_cancel())
                    commit(connection, url)
                    report.committed = True
    report.seconds = round(time.monotonic() - started, 3)
    return report


def _confirmation(cursor: Cursor, manifest: Manifest) -> str:
    cursor.execute("SELECT current_database()")
    row = cursor.fetchone()
    return f"{row[0] if row else ''} {manifest.patients}"


def _fit(cursor: Cursor, catalogue: Catalogue, manifest: Manifest) -> list[str]:
    """Whether the tables can take the rows; differences that do no harm are returned as sentences.

    Raises:
        BackupStop: lists every table and column that does not fit.
    """
    faults, notes = [], []
    own = [table.table for table in manifest.tables if table.table not in catalogue.columns]
    existing = [table for table in own if _exists(cursor, table)]
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


# Rows of `kept` tables are never deleted; what the backup does not have is only locked, and references in it emptied.
_NEEDS = {"replaced": {"INSERT", "UPDATE", "DELETE"}, "kept": {"INSERT", "UPDATE"}}


def _may_write(cursor: Cursor, manifest: Manifest, touched: list[Table]) -> None:
    """Before anything is read: at night nobody should have to find out the tables one by one.

    Raises:
        BackupStop: holds the statements that give what the role lacks.
    """
    needs: dict[Table, set[str]] = {table: {"UPDATE"} for table in touched}
    needs |= {backup.table: _NEEDS[backup.role] for backup in manifest.tables if backup.role in _NEEDS}
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
        remedy="Restore with the role that SECURITY.md gives for it (NEXUS_DATABASE_URL, for this command alone), or as"
        f" the owner of the tables: {grants}",
    )


def _exists(cursor: Cursor, table: Table) -> bool:
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table.identifier.as_string(cursor),))
    row = cursor.fetchone()
    return bool(row and row[0])


def _load(
    cursor: Cursor, folder: Path, manifest: Manifest, key: pyrage.x25519.Identity | None, on_progress: OnProgress
) -> list[Loaded]:
    loaded = []
    for number, written in enumerate(manifest.tables):
        on_progress("read", number, len(manifest.tables))
        scratch = load_scratch(cursor, folder, written, key, f"backup_{number}")
        table = _widened(cursor, written, scratch)
        cursor.execute(sql.SQL("ANALYZE {}").format(scratch.identifier))
        generated = generated_columns(cursor, table.table)
        writable = [name for name in table.names if name not in generated]
        # A partitioned table may have no primary key; its ids are as unique, and the result is checked.
        key_of_rows = key_columns(cursor, table.table) or [name for name in table.names if name == "id"]
        loaded.append(Loaded(table, scratch, key_of_rows, writable, number))
    on_progress("read", len(loaded), len(loaded))
    return loaded


def _widened(cursor: Cursor, backup: BackupTable, scratch: Table) -> BackupTable:
    """Give the scratch table the types of today, as `_fit` allowed them; rows and digests compare like with like."""
    types = {column.name: column.type for column in columns_of(cursor, backup.table)}
    columns = tuple(BackupColumn(name, types[name]) for name in backup.names)
    if columns == backup.columns:
        return backup
    changes = [
        sql.SQL("ALTER {} TYPE {}").format(sql.Identifier(now.name), sql.SQL(now.type))
        for was, now in zip(backup.columns, columns, strict=True)
        if was != now
    ]
    cursor.execute(sql.SQL("ALTER TABLE {} {}").format(scratch.identifier, sql.SQL(", ").join(changes)))
    digest = table_digest(cursor, scratch, backup.names, like=backup.digest)
    return replace(backup, columns=columns, digest=digest)
