"""Restores a backup into an empty database, usually on another server, compares every row, and rolls it back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psycopg2 import sql
from pydantic import SecretStr

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.db.queries import has_table
from fm_pipeline.db.url import connection_parameters, named_in_errors
from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.backup.files import BackupStop, read_key
from fm_pipeline.nexus.backup.manifest import Manifest, read_manifest
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.nexus.backup.rows import OnProgress
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings


@dataclass(frozen=True)
class DrillReport:
    """A drill that succeeded.

    Attributes:
        tables: how many tables were restored and compared.
        rows: of these tables.
        notes: differences of the schema, in sentences.
    """

    folder: Path
    patients: int
    tables: int
    rows: int
    seconds: float
    notes: tuple[str, ...]

    def sentence(self) -> str:
        """What was shown."""
        return (
            f"The backup {self.folder.name} was restored into an empty database and compared:"
            f" {counted(self.rows, 'row')} of {counted(self.tables, 'table')}, {counted(self.patients, 'patient')},"
            f" in {self.seconds:.1f} seconds. It was rolled back."
        )


def drill(settings: Settings, url: str, folder: Path | None, *, on_progress: OnProgress) -> DrillReport:
    """Restore a backup into an empty database, compare each table's digest with the backup's, and roll it back.

    The pipeline's own empty tables are made there, and stay. Nexus' database is only asked for the newest backup.

    Args:
        settings: the database that knows the backups; BACKUP_KEY.
        url: of a database in which the application has made its tables, and nothing else.
        folder: of the backup; None: the newest verified one.

    Raises:
        BackupStop: there is no backup; its files are not what was written, or it has another key; the database is not
            empty; the rows cannot be brought back.
        SettingsError: the URL cannot be used.
        DatabaseError: a server does not answer, or refuses something.
    """
    if folder is None:
        folder = _newest(settings)
    there = settings.model_copy(update={"nexus_database_url": SecretStr(url), "restore_database_url": None})
    with named_in_errors("the URL of the drill"):
        connection_parameters(url)
        manifest = read_manifest(folder, read_key(settings))
        _refuse_rows(url, manifest)
        migrate(url)
        report = restore(there, folder, confirm="", dry_run=True, on_progress=on_progress)
    written = {str(table.table) for table in manifest.tables if table.role != "referenced"}
    if short := [each.table for each in report.tables if each.table in written and each.inserted != each.backup]:
        raise BackupStop(
            f"Not every row came from the backup: {', '.join(short)}.",
            meaning="Something else writes to the database of the drill. All of it was rolled back.",
            remedy="Take a database that nobody uses.",
        )
    restored = [each for each in report.tables if each.table in written]
    rows = sum(each.backup for each in restored)
    return DrillReport(folder, manifest.patients, len(restored), rows, report.seconds, tuple(report.notes))


def _newest(settings: Settings) -> Path:
    backups = list_backups(settings)
    if not backups:
        raise BackupStop(
            "There is no verified backup, so there is nothing to try.",
            meaning="After a loss of the database nothing could be restored.",
            remedy="Make one: fm-pipeline backup",
        )
    return backups[0].folder


def _refuse_rows(url: str, manifest: Manifest) -> None:
    """Refuse a database with rows in tables of the backup: it is Nexus' own, or another one that is used."""
    filled = []
    with connect(url) as connection, connection.cursor() as cursor:
        for table in [each.table for each in manifest.tables if each.role != "referenced"]:
            if has_table(cursor, table.identifier.as_string(cursor)):
                cursor.execute(sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(table.identifier))
                filled += [str(table)] if cursor.fetchone() == (True,) else []
    if filled:
        raise BackupStop(
            f"The database of the drill is not empty: {', '.join(filled)}.",
            meaning="It may be the one that users work with. Nothing was written to it.",
            remedy="Name a database in which the application has made its tables (migrate) and nothing else.",
        )
