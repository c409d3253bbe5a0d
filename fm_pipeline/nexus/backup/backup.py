"""Makes, lists and removes backups of every row that a reimport can touch.

A backup counts only after it was restored into copies of the tables and compared (`verify.py`). Its files are in
`files.py`, the restore in `restore.py`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pyrage
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.audit import audited, operating_system_user
from fm_pipeline.db.commit import commit
from fm_pipeline.db.connection import connect
from fm_pipeline.db.digest import Digest
from fm_pipeline.db.queries import comma
from fm_pipeline.folders import make_private_folder
from fm_pipeline.nexus.backup.files import ENCRYPTED, BackupStop, file_error, open_for_writing, read_key, sync_folder
from fm_pipeline.nexus.backup.manifest import Manifest, file_name, write_manifest
from fm_pipeline.nexus.backup.rows import OnProgress, find_scope, prepare_session, write_table_file
from fm_pipeline.nexus.backup.script import SCRIPT, load_script
from fm_pipeline.nexus.backup.verify import verify_backup
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.catalogue.unread_columns import unread_columns
from fm_pipeline.settings import Settings

PARTIAL = ".partial"
BACKUPS_AT_ONCE = 50  # read: each has the digests of all its tables


def ignore_progress(_step: str, _done: int, _total: int | None) -> None:
    """Do nothing; the default for callers that show no progress."""


@dataclass(frozen=True)
class Backup:
    """A verified backup.

    Attributes:
        untested: parts of a restore that its verification could not try, in sentences; empty for listed backups.
        moved: it was made in another folder; see `folder_now`.
    """

    id: str
    folder: Path
    created_at: datetime
    digests: Mapping[str, Digest]
    bytes: int
    encrypted: bool
    untested: tuple[str, ...] = field(default=(), compare=False)
    moved: bool = field(default=False, compare=False)


def make_backup(
    settings: Settings,
    *,
    now: datetime,
    run_id: str | None = None,
    actor: str | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Backup:
    """Write a snapshot of every table that a reimport can touch, restore it into copies, compare, and record it.

    The folder gets its final name, and its row in `fm_pipeline.backups`, only when all of that succeeded.

    Args:
        settings: the database, BACKUP_DIR, BACKUP_KEY.
        now: with a time zone; part of the folder's name.
        actor: who requested it, for the audit trail.

    Raises:
        BackupStop: the folder cannot be written (no space, no permission), another backup is being written, the files
            differ from what was written, or a restore could not bring the rows back.
        DatabaseError: PostgreSQL refused something. Nexus is never changed.
    """
    url = settings.nexus_database_url.get_secret_value()
    on_progress("write", 0, None)
    with audited(url, actor=actor or operating_system_user(), action="backup", run_id=run_id):
        key = read_key(settings)
        backup_id = str(uuid.uuid4())
        try:
            with exclusive_folder(backup_folder(settings)) as root:
                folder = root / f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{backup_id[:8]}"
                with partial_folder(folder) as partial:
                    size = _write(settings, partial, key, backup_id, now, on_progress)
                    verified = verify_backup(settings, partial, key, on_progress)
                    digests = verified.manifest.digests
                    backup = Backup(backup_id, folder.resolve(), now, digests, size, key is not None, verified.untested)
                    with connect(url) as connection:
                        _record(connection, backup, run_id)
                        partial.rename(folder)
                        sync_folder(root)
                        commit(connection, url)
        except OSError as error:
            raise file_error("The backup could not be written", error) from None
    return backup


def backup_folder(settings: Settings) -> Path:
    """Return the folder of all backups."""
    return settings.backup_dir or settings.state_dir / "backups"


def list_backups(settings: Settings) -> list[Backup]:
    """Return the verified backups that are recorded in this database, newest first; a folder may have been removed."""
    return list(newest_backups(settings))


def newest_backups(settings: Settings) -> Iterator[Backup]:
    """Yield what `list_backups` returns. Few are read at a time: there may be thousands, and a page needs one."""
    yield from _read(settings)


def find_backup(settings: Settings, backup_id: str) -> Backup | None:
    """Return the verified backup of an id, in any spelling; None if this database has none."""
    try:
        key = str(uuid.UUID(backup_id.strip()))
    except ValueError:
        return None
    return next(_read(settings, key), None)


def _read(settings: Settings, backup_id: str | None = None) -> Iterator[Backup]:
    where = sql.SQL("WHERE id = {}").format(sql.Literal(backup_id)) if backup_id else sql.SQL("")
    url = settings.nexus_database_url.get_secret_value()
    with connect(url) as connection, connection.cursor("backups") as cursor:
        cursor.itersize = BACKUPS_AT_ONCE
        cursor.execute(
            sql.SQL(
                "SELECT id::text, folder, created_at, digests, bytes, encrypted FROM fm_pipeline.backups {}"
                " ORDER BY number DESC, created_at DESC"
            ).format(where)
        )
        for own_id, recorded, created_at, digests, size, encrypted in cursor:
            folder = folder_now(settings, recorded)
            by_name = {name: Digest(*digest) for name, digest in digests.items()}
            yield Backup(own_id, folder, created_at, by_name, size, encrypted, moved=folder != Path(recorded))


def folder_now(settings: Settings, recorded: str) -> Path:
    """Return the folder in which a backup was made, or else, if there is one, that of the same name in BACKUP_DIR.

    It lies there after the pipeline has moved to another machine, but also if this is a copy of the database and
    BACKUP_DIR is another installation's: such a folder may be read, and must not be removed.
    """
    made, moved = Path(recorded), backup_folder(settings).resolve() / Path(recorded).name
    return moved if os.path.isdir(moved) and not os.path.isdir(made) else made  # False if unreadable


def _write(
    settings: Settings,
    folder: Path,
    key: pyrage.x25519.Identity | None,
    backup_id: str,
    now: datetime,
    on_progress: OnProgress,
) -> int:
    """Write all files from one snapshot; return their size in bytes."""
    with connect(settings.nexus_database_url.get_secret_value()) as connection:
        with connection.cursor() as cursor:
            scope = find_scope(cursor, settings)
        connection.commit()
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            prepare_session(cursor, settings)
            # Before the snapshot: a TRUNCATE or a migration between the two would make it see an empty table.
            # PostgreSQL lets a role lock only what it may read completely. Rows that are missing for that reason are
            # found when the backup is verified: the rows that refer to them cannot be restored.
            tables = [
                table.identifier
                for table, role in scope.roles.items()
                if role != "referenced" or not unread_columns(scope.catalogue, table)
            ]
            cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(comma(tables)))
            if read_catalogue(cursor, settings.nexus_schema).fingerprint != scope.catalogue.fingerprint:
                raise BackupStop(
                    "The tables of Nexus changed while the backup began (a migration of the application?).",
                    meaning="There is no backup. Nexus is unchanged.",
                    remedy="Start again when the migration has ended.",
                )
            written = []
            for number, (table, role) in enumerate(scope.roles.items(), start=1):
                on_progress("write", number - 1, len(scope.roles))
                path = folder / file_name(number, table, key)
                left_out = unread_columns(scope.catalogue, table) if role == "referenced" else ()
                written.append(write_table_file(cursor, path, table, role, key, left_out=left_out))
            on_progress("write", len(written), len(written))
            script_name = SCRIPT + (ENCRYPTED if key else "")
            with open_for_writing(folder / script_name, key, compress=False) as script:
                script.sink.write(load_script(cursor, scope.catalogue, written).encode())
            cursor.execute("SELECT current_database(), current_setting('server_version_num')::int")
            database, version = cursor.fetchone() or ("", 0)
    manifest = Manifest(backup_id, now, database, version, scope.catalogue.fingerprint, tuple(written))
    manifest = replace(manifest, script=script_name, script_sha256=script.sha256)
    return write_manifest(folder, manifest, key) + sum(table.bytes for table in written) + script.bytes


def _record(connection: Connection, backup: Backup, run_id: str | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fm_pipeline.backups"
            " (id, run_id, created_at, folder, encrypted, bytes, digests, verified_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())",
            (
                backup.id,
                run_id,
                backup.created_at,
                str(backup.folder),
                backup.encrypted,
                backup.bytes,
                json.dumps({name: list(digest) for name, digest in backup.digests.items()}),
            ),
        )


@contextmanager
def exclusive_folder(root: Path) -> Iterator[Path]:
    """Lock a folder of backups or exports for one writer, and remove what a killed writer left."""
    make_private_folder(root)
    descriptor = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupStop(
                "Another backup or export is being written to the same folder, or old ones are being removed from it.",
                meaning="Nothing was written and nothing was removed here.",
                remedy="Wait until it has ended.",
            ) from None
        for leftover in root.glob(f"*{PARTIAL}"):
            shutil.rmtree(leftover)
        yield root
    finally:
        os.close(descriptor)


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """Create a folder of mode 0700 for an unfinished backup; it is removed if the block fails."""
    partial = folder.with_name(folder.name + PARTIAL)
    partial.mkdir(mode=0o700)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
