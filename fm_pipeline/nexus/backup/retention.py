"""Which backups stay, and the removal of the others. Only `fm-pipeline backup --prune` calls it: else all are kept."""

from __future__ import annotations

import shutil
from pathlib import Path

from fm_pipeline.db.audit import audited, operating_system_user
from fm_pipeline.db.connection import connect
from fm_pipeline.nexus.backup.backup import Backup, backup_folder, exclusive_folder, list_backups
from fm_pipeline.nexus.backup.files import file_error
from fm_pipeline.settings import Settings

_DELETING = ".deleting"


def prune_backups(settings: Settings, *, keep: int) -> list[Path]:
    """Remove the oldest verified backups. Folders that this database has no row of are never touched.

    Nor are those that were not made in BACKUP_DIR, even if they lie there now: a copy of the database, made for a test,
    has the rows of the real backups.

    Args:
        keep: how many stay, at least one. A backup whose folder is missing does not count, and its row stays.

    Returns:
        The removed folders.

    Raises:
        ValueError: `keep` is below one.
        BackupStop: a folder cannot be removed.
    """
    if keep < 1:
        raise ValueError("the newest verified backup always stays: keep is at least 1")
    url = settings.nexus_database_url.get_secret_value()
    removed = []
    with audited(url, actor=operating_system_user(), action="prune"):
        try:
            with exclusive_folder(backup_folder(settings)) as root:
                made_here = root.resolve()
                ours = [each for each in list_backups(settings) if each.folder.parent == made_here and not each.moved]
                for backup in [each for each in ours if each.folder.is_dir()][keep:]:
                    backup.folder.rename(_renamed(backup))
                    removed.append(backup.folder)
                # Killed before this or within, the next call goes on.
                for backup in ours:
                    if _renamed(backup).is_dir():
                        _forget(url, backup)
                for leftover in root.glob(f"*{_DELETING}"):
                    shutil.rmtree(leftover)
        except OSError as error:
            raise file_error("Old backups could not be removed", error) from None
    return removed


def _renamed(backup: Backup) -> Path:
    return backup.folder.with_name(backup.folder.name + _DELETING)


def _forget(url: str, backup: Backup) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM fm_pipeline.backups WHERE id = %s", (backup.id,))
        connection.commit()
