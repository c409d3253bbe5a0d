"""Exports the tables that a reimport replaces as CSV, for people and other programs. A restore does not read them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyrage
from psycopg2 import sql

from fm_pipeline.db.audit import audited, operating_system_user
from fm_pipeline.db.connection import connect
from fm_pipeline.db.table import Table
from fm_pipeline.entities.registry import loaded
from fm_pipeline.folders import make_private_folder
from fm_pipeline.nexus.backup.backup import backup_folder, partial_folder
from fm_pipeline.nexus.backup.files import ENCRYPTED, file_error, open_for_writing, read_key, sync_folder
from fm_pipeline.nexus.backup.rows import prepare_session
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.catalogue.table_details import columns_of, key_columns
from fm_pipeline.nexus.policy import LETTERS, REMINDERS
from fm_pipeline.nexus.staged_registry import read_registry
from fm_pipeline.settings import Settings

FOLDER = "csv"  # in the folder of the backups


def export_csv(settings: Settings, *, now: datetime, actor: str | None = None) -> tuple[Path, dict[str, int]]:
    """Write patients, appointments, notes, messages, letters and reminders from one snapshot, each into a CSV file.

    UTF-8, a line of column names, rows by primary key. NULL is nothing between two commas, an empty text is "". With
    BACKUP_KEY each file is encrypted (age) before it reaches the disk.

    Returns:
        The new folder, below that of the backups, and how many rows each file has.

    Raises:
        BackupStop: the folder cannot be written.
        DatabaseError: PostgreSQL refused something.
    """
    url = settings.nexus_database_url.get_secret_value()
    with audited(url, actor=actor or operating_system_user(), action="export"):
        key = read_key(settings)
        try:
            root = backup_folder(settings) / FOLDER
            make_private_folder(root)
            folder = root / f"{now.astimezone(UTC):%Y%m%dT%H%M%S}"
            with partial_folder(folder) as partial:
                rows = _write(settings, partial, key)
                sync_folder(partial)
                partial.rename(folder)
                sync_folder(root)
        except OSError as error:
            raise file_error("write", error) from None
    return folder.resolve(), rows


def _write(settings: Settings, folder: Path, key: pyrage.x25519.Identity | None) -> dict[str, int]:
    rows = {}
    with connect(settings.nexus_database_url.get_secret_value()) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            prepare_session(cursor, settings)
            catalogue = read_catalogue(cursor, settings.nexus_schema)
            for name in [*(each.table for each in loaded(read_registry(cursor))), LETTERS, REMINDERS]:
                if not catalogue.has(name):
                    continue
                table: Table = catalogue.table(name)
                columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns_of(cursor, table))
                order = sql.SQL(", ").join(map(sql.Identifier, key_columns(cursor, table))) or columns
                copy = sql.SQL(
                    "COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT WITH (FORMAT csv, HEADER true, ENCODING 'UTF8')"
                ).format(columns, table.identifier, order)
                with open_for_writing(folder / f"{name}.csv{ENCRYPTED if key else ''}", key, compress=False) as file:
                    cursor.copy_expert(copy, file.sink)
                rows[name] = cursor.rowcount
    return rows
