"""Exports the tables that a reimport replaces as CSV, for people and other programs. A restore does not read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pyrage
from psycopg2 import sql

from fm_pipeline.db.audit import audited, operating_system_user
from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import column_list
from fm_pipeline.db.table import Table
from fm_pipeline.entities.registry import loaded
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.backup.backup import backup_folder, exclusive_folder, partial_folder
from fm_pipeline.nexus.backup.files import ENCRYPTED, file_error, open_for_writing, read_key, sync_folder
from fm_pipeline.nexus.backup.rows import prepare_session
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.catalogue.table_details import columns_of, key_columns
from fm_pipeline.nexus.staged_registry import read_registry
from fm_pipeline.nexus.table_names import LETTERS, REMINDERS
from fm_pipeline.settings import Settings

FOLDER = "csv"  # in the folder of the backups
TIME, NAME = "%Y%m%dT%H%M%S", re.compile(r"\d{8}T\d{6}")  # of the folder of an export


def export_csv(
    settings: Settings, *, now: datetime, actor: str | None = None, run_id: str | None = None
) -> tuple[Path, dict[str, int]]:
    """Write patients, appointments, notes, messages, letters and reminders from one snapshot, each into a CSV file.

    UTF-8, a line of column names, rows by primary key (without one by the first column). NULL is nothing between two
    commas, an empty text is "". With BACKUP_KEY each file is encrypted (age) before it reaches the disk.

    Returns:
        The new folder, below that of the backups, and how many rows each file has.

    Raises:
        BackupStop: the folder cannot be written, or another export is being written.
        DatabaseError: PostgreSQL refused something.
    """
    url = settings.nexus_database_url.get_secret_value()
    with audited(url, actor=actor or operating_system_user(), action="export", run_id=run_id):
        key = read_key(settings)
        try:
            with exclusive_folder(backup_folder(settings) / FOLDER) as root:
                folder = root / f"{now.astimezone(UTC):{TIME}}"
                with partial_folder(folder) as partial:
                    rows = _write(settings, partial, key)
                    sync_folder(partial)
                    partial.rename(folder)
                    sync_folder(root)
        except OSError as error:
            raise file_error("The export could not be written", error) from None
    return folder.resolve(), rows


@dataclass(frozen=True)
class CsvExport:
    """An export; its name is the time of its start in UTC. `files` has sizes in bytes by name."""

    name: str
    at: datetime
    files: dict[str, int]


def list_exports(settings: Settings) -> list[CsvExport]:
    """Return the exports, newest first; what is not named as an export is passed over."""
    root = backup_folder(settings) / FOLDER
    found = []
    for folder in root.glob("*") if root.is_dir() else ():
        if NAME.fullmatch(folder.name) and folder.is_dir():
            at = datetime.strptime(folder.name, TIME).replace(tzinfo=UTC)
            sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()}
            found.append(CsvExport(folder.name, at, sizes))
    return sorted(found, key=lambda export: export.name, reverse=True)


def open_export(settings: Settings, name: str, file: str) -> IO[bytes]:
    """Open a file of an export.

    Raises:
        RequestError: no export has this name or this file (404). Nothing but their listed files is opened.
    """
    for export in list_exports(settings):
        if export.name == name and file in export.files:
            return (backup_folder(settings) / FOLDER / name / file).open("rb")
    raise RequestError("There is no such file of an export.", code=404, remedy="Take one of the list.")


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
                names = [column.name for column in columns_of(cursor, table)]
                order = column_list(key_columns(cursor, table) or names[:1])
                copy = sql.SQL(
                    "COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT WITH (FORMAT csv, HEADER true, ENCODING 'UTF8')"
                ).format(column_list(names), table.identifier, order)
                with open_for_writing(folder / f"{name}.csv{ENCRYPTED if key else ''}", key, compress=False) as file:
                    cursor.copy_expert(copy, file.sink)
                rows[name] = cursor.rowcount
    return rows
