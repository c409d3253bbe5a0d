"""Loads the tables of a backup into scratch tables, with the catalogue's facts about the tables to restore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyrage
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.digest import table_digest
from fm_pipeline.db.queries import comma
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.backup.manifest import BackupTable, Manifest
from fm_pipeline.nexus.backup.restore_tables import LoadedTable
from fm_pipeline.nexus.backup.rows import OnProgress, load_scratch_table
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.catalogue.table_details import (
    BackupColumn,
    columns_of,
    generated_columns,
    identity_always_columns,
    key_columns,
)
from fm_pipeline.nexus.catalogue.unread_columns import unread_columns


def load_tables(
    cursor: Cursor,
    catalogue: Catalogue,
    folder: Path,
    manifest: Manifest,
    key: pyrage.x25519.Identity | None,
    on_progress: OnProgress,
    *,
    step: str = "read",
    targets: Mapping[Table, Table] | None = None,
) -> list[LoadedTable]:
    """Load every table of a backup and compare it with the manifest.

    Args:
        catalogue: of the backed-up tables.
        step: name of the progress step.
        targets: the tables that get the rows, by backed-up table; None to restore into the backed-up tables.

    Raises:
        BackupStop: the rows are not those that were backed up.
    """
    loaded = []
    for number, written in enumerate(manifest.tables):
        on_progress(step, number, len(manifest.tables))
        scratch = load_scratch_table(cursor, folder, written, key, f"backup_{number}")
        backup = _widened(cursor, written, scratch)
        if targets is None:  # nothing is compared with copies, which are empty
            cursor.execute(sql.SQL("ANALYZE {}").format(scratch.identifier))
        target = (targets or {}).get(backup.table, backup.table)
        generated = generated_columns(cursor, target)
        filled = _fill(cursor, catalogue, backup, scratch, target)
        writable = [name for name in [*backup.names, *filled] if name not in generated]
        # A partitioned table may have no primary key; its ids are as unique, and the result is checked.
        key_of_rows = key_columns(cursor, backup.table) or [name for name in backup.names if name == "id"]
        fixed = {*key_of_rows, *filled, *identity_always_columns(cursor, target)}
        updatable = [name for name in writable if name not in fixed] if key_of_rows else []
        loaded.append(LoadedTable(backup, target, scratch, key_of_rows, writable, updatable, number))
    on_progress(step, len(loaded), len(loaded))
    return loaded


def _fill(cursor: Cursor, catalogue: Catalogue, backup: BackupTable, scratch: Table, target: Table) -> list[str]:
    """Add the columns that the backup leaves out to a scratch table.

    Returns:
        The names of those that a row which is added has to be given; the others get their default.
    """
    left_out = unread_columns(catalogue, backup.table) if backup.role == "referenced" else {}
    there = {column.name for column in columns_of(cursor, target)} - set(backup.names)
    filled = {name: value for name, value in left_out.items() if name in there}
    for name, value in filled.items():
        kind = catalogue.columns[backup.table][name].uncut_type
        cursor.execute(
            sql.SQL("ALTER TABLE {} ADD {} {} DEFAULT {}").format(
                scratch.identifier, sql.Identifier(name), sql.SQL(kind), sql.SQL(value or "NULL")
            )
        )
    return [name for name, value in filled.items() if value]


def _widened(cursor: Cursor, backup: BackupTable, scratch: Table) -> BackupTable:
    """Give the scratch table the current column types, which `_check_schema` has allowed, and digest it again."""
    types = {column.name: column.type for column in columns_of(cursor, backup.table)}
    columns = tuple(BackupColumn(name, types[name]) for name in backup.names)
    if columns == backup.columns:
        return backup
    changes = [
        sql.SQL("ALTER {} TYPE {}").format(sql.Identifier(now.name), sql.SQL(now.type))
        for was, now in zip(backup.columns, columns, strict=True)
        if was != now
    ]
    cursor.execute(sql.SQL("ALTER TABLE {} {}").format(scratch.identifier, comma(changes)))
    digest = table_digest(cursor, scratch, backup.names, like=backup.digest)
    return replace(backup, columns=columns, digest=digest)
