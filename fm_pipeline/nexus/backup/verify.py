"""Verifies a backup: the code of the restore restores it into copies of the tables.

The copies have the columns, types, defaults, CHECKs, unique indexes, exclusion constraints and foreign keys of Nexus'
tables. They are temporary tables, so no other session can read them, nothing is left of them when this process is
killed, and the role only needs to read Nexus. Everything is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
import pyrage
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.manifest import BackupTable, Manifest, read_manifest
from fm_pipeline.nexus.backup.restore_load import load_tables
from fm_pipeline.nexus.backup.restore_rows import Restoration
from fm_pipeline.nexus.backup.restore_tables import LoadedTable
from fm_pipeline.nexus.backup.restore_write import is_immediate
from fm_pipeline.nexus.backup.rows import OnProgress, create_scratch_table, prepare_session
from fm_pipeline.nexus.catalogue.filled_columns import add_columns, refusing_constraints
from fm_pipeline.nexus.catalogue.not_valid_constraints import (
    count_violations,
    find_unrestorable_rows,
    not_valid_constraints_of,
)
from fm_pipeline.nexus.catalogue.schema import Catalogue, ForeignKey, read_catalogue
from fm_pipeline.nexus.catalogue.table_details import enabled_triggers, has_rules, key_columns
from fm_pipeline.nexus.catalogue.unread_columns import unread_columns
from fm_pipeline.nexus.reimport.other_writes import parse_trigger_tables
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings


@dataclass(frozen=True)
class VerifiedBackup:
    """A backup that was restored into copies.

    Attributes:
        untested: parts of Nexus' tables that the copies do not have, in sentences.
    """

    manifest: Manifest
    untested: tuple[str, ...]


def verify_backup(
    settings: Settings, folder: Path, key: pyrage.x25519.Identity | None, on_progress: OnProgress
) -> VerifiedBackup:
    """Check every file of a backup and restore it into copies of the tables; roll back.

    Raises:
        BackupStop: the files are not what was written, or the rows cannot be brought back.
    """
    on_progress("verify", 0, None)
    manifest = read_manifest(folder, key)
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        prepare_session(cursor, settings)
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        copies = {
            backup.table: _copy(cursor, catalogue, backup, f"copy_of_backup_{number}")
            for number, backup in enumerate(manifest.tables)
        }
        own = [key for key in catalogue.foreign_keys if key.table in copies]
        written = [backup.table for backup in manifest.tables if backup.role != "referenced"]
        untested = find_untested_parts(cursor, written)
        untested += _add_keys(cursor, [key for key in own if is_immediate(key)], copies)
        loaded = load_tables(cursor, catalogue, folder, manifest, key, on_progress, step="verify", targets=copies)
        _refuse_unrestorable_rows(cursor, loaded)
        # Deferred keys are added afterwards: one check of all rows takes a fraction of one check a row.
        growing = parse_trigger_tables(catalogue, settings.nexus_trigger_tables)  # event triggers record the copies
        restoration = Restoration(cursor, _catalogue_of(catalogue, copies), loaded, growing=growing)
        restoration.run()
        untested += _find_unaddable_rows(cursor, catalogue, loaded)
        with restoration.explain_constraint_violations():
            untested += _add_keys(cursor, [key for key in own if not is_immediate(key)], copies)
        connection.rollback()
    return VerifiedBackup(manifest, tuple(untested))


def find_untested_parts(cursor: Cursor, tables: Sequence[Table]) -> list[str]:
    """Return, in sentences, what copies of these tables lack, and the NOT VALID constraints that rows violate."""
    found = []
    if triggers := enabled_triggers(cursor, tables):
        found.append(f"Triggers, which a restore fires and its trial does not: {', '.join(triggers)}.")
    if rules := [str(table) for table in tables if has_rules(cursor, table)]:
        found.append(f"Rules of {', '.join(rules)}, which a restore meets and its trial does not.")
    for constraint in [each for table in tables for each in not_valid_constraints_of(cursor, table)]:
        place = constraint.table.identifier
        if rows := count_violations(cursor, constraint, place, lambda parent: [parent.identifier]):
            found.append(
                f"{counted(rows, 'row')} of {constraint.table} break {constraint.name}, which is NOT VALID: a restore"
                " of one of them drops that constraint and adds it again in its transaction, as the owner of the table."
            )
    return found


def _copy(cursor: Cursor, catalogue: Catalogue, backup: BackupTable, name: str) -> Table:
    """Create an empty temporary table with the columns and constraints of a table, without its foreign keys."""
    table, copy = backup.table, Table("pg_temp", name)
    if backup.role == "referenced" and unread_columns(catalogue, table):  # LIKE is for those who may read all columns
        create_scratch_table(cursor, name, backup.columns, key_columns(cursor, table))
        add_columns(cursor, catalogue, table, _left_out(catalogue, backup), copy)
        return copy
    cursor.execute(
        sql.SQL(
            "CREATE TEMP TABLE {} (LIKE {} INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING GENERATED"
            " INCLUDING IDENTITY INCLUDING INDEXES) ON COMMIT DROP"
        ).format(sql.Identifier(name), table.identifier)
    )
    cursor.execute(
        "SELECT indexrelid::regclass::text FROM pg_index"
        " WHERE indrelid = %s::regclass AND NOT indisunique AND NOT indisexclusion",
        (copy.identifier.as_string(cursor),),
    )
    for (index,) in cursor.fetchall():  # of no use here
        cursor.execute(sql.SQL("DROP INDEX {}").format(sql.SQL(index)))
    for constraint in not_valid_constraints_of(cursor, table):
        if constraint.kind != "f":  # LIKE has made it valid
            copied = replace(constraint, table=copy)
            copied.take_away(cursor)
            copied.put_back(cursor)
    return copy


def _left_out(catalogue: Catalogue, backup: BackupTable) -> list[str]:
    """Return the columns of a table that its backup leaves out."""
    secrets = unread_columns(catalogue, backup.table) if backup.role == "referenced" else {}
    return [name for name in secrets if name not in backup.names]


def _find_unaddable_rows(cursor: Cursor, catalogue: Catalogue, tables: Iterable[LoadedTable]) -> list[str]:
    """Return, in sentences, the tables that refuse added rows because of what these get in columns left out.

    Existing rows get no such value, so this is no reason to have no backup.
    """
    found = []
    for loaded in tables:
        table, names = loaded.backup.table, _left_out(catalogue, loaded.backup)
        if refusing := list(refusing_constraints(cursor, table, names, loaded.target)) if names else []:
            found.append(
                f"Rows of {table} that are deleted: no restore can add them again, because no backup holds"
                f" {', '.join(names)}, and {', '.join(refusing)} refuses what they get instead."
            )
    return found


def _add_keys(cursor: Cursor, keys: Iterable[ForeignKey], copies: Mapping[Table, Table]) -> list[str]:
    """Add foreign keys to the copies; return a sentence that names those that cannot be copied."""
    left = []
    for key in keys:
        added = False
        if key.references in copies:
            cursor.execute(
                "SELECT pg_get_constraintdef(oid), confrelid::regclass::text FROM pg_constraint"
                " WHERE conrelid = %s::regclass AND conname = %s AND contype = 'f'",
                (key.table.identifier.as_string(cursor), key.name),
            )
            definition, parent = cursor.fetchone() or ("", "")
            columns, _, rest = definition.partition(f" REFERENCES {parent}(")
            cursor.execute("SAVEPOINT key")
            try:
                cursor.execute(
                    sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {} REFERENCES {} ({}").format(
                        copies[key.table].identifier,
                        sql.Identifier(key.name),
                        sql.SQL(columns),
                        copies[key.references].identifier,
                        sql.SQL(rest),
                    )
                )
                added = True
            except psycopg2.ProgrammingError:  # what it refers to has no unique index of its own, say
                cursor.execute("ROLLBACK TO SAVEPOINT key")
        if not added:
            left.append(f"{key.name} of {key.table}")
    return [f"Foreign keys that cannot be tried: {', '.join(left)}."] if left else []


def _catalogue_of(catalogue: Catalogue, copies: Mapping[Table, Table]) -> Catalogue:
    """Return a catalogue of the copies."""
    return Catalogue(
        "pg_temp",
        {copies[table]: columns for table, columns in catalogue.columns.items() if table in copies},
        [
            replace(key, table=copies[key.table], references=copies[key.references])
            for key in catalogue.foreign_keys
            if key.table in copies and key.references in copies
        ],
    )


def _refuse_unrestorable_rows(cursor: Cursor, loaded: Iterable[LoadedTable]) -> None:
    rows = {each.backup.table: each.scratch.identifier for each in loaded if each.backup.role == "replaced"}
    parents = {each.backup.table: each.scratch.identifier for each in loaded}
    if refused := find_unrestorable_rows(cursor, rows, parents):
        raise BackupStop(
            refused.what, meaning=f"{refused.meaning} There is no backup; Nexus is unchanged.", remedy=refused.remedy
        )
