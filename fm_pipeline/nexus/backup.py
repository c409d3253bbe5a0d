"""Backups of every row that a reimport can touch, each restored and compared before it counts as one (decision D6).

What is here: making, verifying, listing and removing backups. Their files are `backup_files`, the way back `restore`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pyrage
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.folders import make_private_folder
from fm_pipeline.nexus.audit import audited, operating_system_user
from fm_pipeline.nexus.backup_files import (
    BackupColumn,
    BackupStop,
    BackupTable,
    Manifest,
    Role,
    cannot,
    file_name,
    read_key,
    read_manifest,
    reading,
    sync_folder,
    write_manifest,
    writing,
)
from fm_pipeline.nexus.catalogue import Catalogue, Table, read_catalogue
from fm_pipeline.nexus.database import connect
from fm_pipeline.nexus.digest import Digest, table_digest
from fm_pipeline.nexus.policy import LOADS, REQUIRED_ENTITIES, make_policy
from fm_pipeline.nexus.references import touched_tables
from fm_pipeline.settings import Settings

# Ours: a reimport writes them, and without them a restored patient would get another id next time.
OWN_TABLES = (Table("fm_pipeline", "crosswalk"), Table("fm_pipeline", "retired_patient_ids"))
PARTIAL = ".partial"
DELETING = ".deleting"

# step ("write", "verify", "restore"), tables done, tables in all
OnProgress = Callable[[str, int, int], None]


def quiet(_step: str, _done: int, _total: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Backup:
    """A verified backup."""

    id: str
    folder: Path
    created_at: datetime
    digests: Mapping[str, Digest]
    bytes: int
    encrypted: bool


@dataclass(frozen=True)
class Scope:
    """What a backup has to hold, and why."""

    roles: Mapping[Table, Role]
    catalogue: Catalogue


def make_backup(
    settings: Settings,
    *,
    now: datetime,
    run_id: str | None = None,
    actor: str | None = None,
    on_progress: OnProgress = quiet,
) -> Backup:
    """Write one snapshot of every table that a reimport can touch, restore it into scratch tables, compare, record.

    A folder has its final name, and a row in `fm_pipeline.backups`, only when all of that went well.

    Args:
        settings: the database, BACKUP_DIR, BACKUP_KEY.
        now: with a zone; part of the folder's name.
        actor: who asked, for the audit trail.

    Raises:
        BackupStop: the folder cannot be written (no room, no right), another backup is being written, or what was
            read back is not what was written.
        DatabaseError: PostgreSQL refused something. Nexus is never changed.
    """
    url = settings.nexus_database_url.get_secret_value()
    with audited(url, actor=actor or operating_system_user(), action="backup", run_id=run_id):
        key = read_key(settings)
        backup_id = str(uuid.uuid4())
        try:
            with _only_one(backup_folder(settings)) as root:
                folder = root / f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{backup_id[:8]}"
                with _partial(folder) as partial:
                    size = _write(settings, partial, key, backup_id, now, on_progress)
                    manifest = _read_back(settings, partial, key, on_progress)
                    partial.rename(folder)
                    sync_folder(root)
        except OSError as error:
            raise cannot("write", error) from None
        backup = Backup(backup_id, folder.resolve(), now, manifest.digests, size, key is not None)
        _record(url, backup, run_id)
    return backup


def verify_backup(settings: Settings, backup: Backup) -> None:
    """Read a backup from the disk, restore it into scratch tables, compare, and record that it held.

    Raises:
        BackupStop: a file is damaged, missing, not ours, or its rows are not those that were written.
    """
    manifest = _read_back(settings, backup.folder, read_key(settings), quiet)
    if (manifest.id, dict(manifest.digests)) != (backup.id, dict(backup.digests)):
        raise BackupStop(
            "The folder holds another backup.", meaning="Nothing was changed.", remedy="Check the folder's name."
        )
    _record(settings.nexus_database_url.get_secret_value(), backup, None)


def backup_folder(settings: Settings) -> Path:
    """Where the backups are."""
    return settings.backup_dir or settings.state_dir / "backups"


def list_backups(settings: Settings) -> list[Backup]:
    """The verified backups that this database knows, newest first; a folder may be gone since."""
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT id::text, folder, created_at, digests, bytes, encrypted FROM fm_pipeline.backups"
            " ORDER BY created_at DESC, verified_at DESC"
        )
        return [
            Backup(
                backup_id,
                Path(folder),
                created_at,
                {name: Digest(*digest) for name, digest in digests.items()},
                size,
                encrypted,
            )
            for backup_id, folder, created_at, digests, size, encrypted in cursor.fetchall()
        ]


def prune_backups(settings: Settings, *, keep: int, actor: str | None = None) -> list[Path]:
    """Remove the oldest verified backups; folders that this database has no row of are never touched.

    Args:
        keep: how many stay, at least one.

    Returns:
        The folders that went.

    Raises:
        ValueError: `keep` is below one.
        BackupStop: a folder cannot be removed.
    """
    if keep < 1:
        raise ValueError("the newest verified backup always stays: keep is at least 1")
    url = settings.nexus_database_url.get_secret_value()
    removed = []
    with audited(url, actor=actor or operating_system_user(), action="prune"):
        try:
            with _only_one(backup_folder(settings)) as root:
                for backup in list_backups(settings)[keep:]:
                    # The row first: killed in between, a folder is left over, never a row without its folder.
                    _forget(url, backup)
                    if backup.folder.is_dir():
                        backup.folder.rename(backup.folder.with_name(backup.folder.name + DELETING))
                        removed.append(backup.folder)
                        shutil.rmtree(backup.folder.with_name(backup.folder.name + DELETING))
                for leftover in root.glob(f"*{DELETING}"):
                    shutil.rmtree(leftover)
        except OSError as error:
            raise cannot("write", error) from None
    return removed


def find_scope(cursor: Cursor, settings: Settings) -> Scope:
    """The tables to back up: what a reimport can touch, our own, and what rows of these refer to.

    The last are needed where a server has lost them: a patient's clinic must be there before the patient can be.
    """
    catalogue = read_catalogue(cursor, settings.nexus_schema)
    entities = {load.entity for load in LOADS if catalogue.has(load.table)} | set(REQUIRED_ENTITIES)
    policy = make_policy(catalogue, entities, letters=settings.nexus_letters, reminders=settings.nexus_reminders)
    cursor.execute("SELECT entity FROM fm_pipeline.staged_builds")
    staged = {row[0] for row in cursor.fetchall()}
    replaced = {
        table
        for table in policy.emptied
        if not staged or (load := policy.load_of(table)) is None or load.entity in staged
    }
    # Without FileMaker's columns, so that it does not matter what a profile feeds: at least what a reimport locks.
    touched = touched_tables(cursor, policy, {})
    roles: dict[Table, Role] = {table: "replaced" if table in replaced else "kept" for table in touched}
    roles |= dict.fromkeys(OWN_TABLES, "replaced")
    pending = list(touched)
    while pending:
        table = pending.pop()
        for key in catalogue.foreign_keys:
            if key.table == table and key.references not in roles:
                roles[key.references] = "referenced"
                pending.append(key.references)
    return Scope(roles, catalogue)


def load_scratch(
    cursor: Cursor, folder: Path, table: BackupTable, key: pyrage.x25519.Identity | None, name: str
) -> Table:
    """Load a table's file into a temporary table of the transaction, and compare it with the manifest.

    Temporary tables are in a schema of the session: nothing is left of them, also when we are killed; no other
    session can read them; and the role needs no right to create schemas.

    Raises:
        BackupStop: the rows are not those that were backed up.
    """
    scratch = Table("pg_temp", name)
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in table.columns
    )
    cursor.execute(sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(sql.Identifier(name), columns))
    copy = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT text, ENCODING 'UTF8')").format(
        scratch.identifier, _identifiers(table.names)
    )
    broken = BackupStop(
        f"The backup of {table.table} does not give back the rows that were backed up.",
        meaning="It is no backup. Nothing was changed in Nexus.",
        remedy="Make another one; check the disk that it was written to.",
    )
    try:
        with reading(folder / table.file, key) as plain:
            cursor.copy_expert(copy, plain, 1 << 16)  # type: ignore[arg-type]  # only read() is called
    except (OSError, EOFError, pyrage.DecryptError, psycopg2.DataError, psycopg2.errors.QueryCanceled):
        raise broken from None
    if table_digest(cursor, scratch, table.names) != table.digest:
        raise broken
    return scratch


def prepare_session(cursor: Cursor, settings: Settings) -> None:
    """No time limit of the role ends a transaction half-way, and no policy of rows hides one (pg_dump does the same).

    Takes no snapshot.
    """
    cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
    cursor.execute("SET LOCAL row_security = off")
    milliseconds = int(settings.nexus_lock_timeout_seconds * 1000)
    cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{milliseconds}ms")))


def read_columns(cursor: Cursor, tables: Collection[Table]) -> dict[Table, list[BackupColumn]]:
    """The columns of tables of any schema, in their order."""
    columns: dict[Table, list[BackupColumn]] = {}
    for table in tables:
        cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (table.identifier.as_string(cursor),),
        )
        columns[table] = [BackupColumn(*row) for row in cursor.fetchall()]
    return columns


def _write(
    settings: Settings,
    folder: Path,
    key: pyrage.x25519.Identity | None,
    backup_id: str,
    now: datetime,
    on_progress: OnProgress,
) -> int:
    """Write all files from one snapshot; returns their bytes."""
    with connect(settings.nexus_database_url.get_secret_value()) as connection:
        with connection.cursor() as cursor:
            scope = find_scope(cursor, settings)
        connection.commit()
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            prepare_session(cursor, settings)
            # Before the snapshot: a TRUNCATE or a migration between the two would make it see an empty table.
            tables = [table.identifier for table in scope.roles]
            cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.SQL(", ").join(tables)))
            if read_catalogue(cursor, settings.nexus_schema).fingerprint != scope.catalogue.fingerprint:
                raise BackupStop(
                    "The tables of Nexus changed while the backup began (a migration of the application?).",
                    meaning="There is no backup. Nexus is unchanged.",
                    remedy="Start again when the migration has ended.",
                )
            written = []
            columns = read_columns(cursor, scope.roles)
            for number, (table, role) in enumerate(scope.roles.items(), start=1):
                on_progress("write", number - 1, len(scope.roles))
                written.append(
                    _write_table(cursor, folder / file_name(number, table, key), table, role, columns[table], key)
                )
            on_progress("write", len(written), len(written))
            cursor.execute("SELECT current_database(), current_setting('server_version_num')::int")
            database, version = cursor.fetchone() or ("", 0)
    manifest = Manifest(backup_id, now, database, version, scope.catalogue.fingerprint, tuple(written))
    return write_manifest(folder, manifest, key) + sum(table.bytes for table in written)


def _write_table(
    cursor: Cursor,
    path: Path,
    table: Table,
    role: Role,
    columns: list[BackupColumn],
    key: pyrage.x25519.Identity | None,
) -> BackupTable:
    names = [column.name for column in columns]
    # A query and not the table: COPY refuses partitioned tables and leaves out generated columns.
    copy = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT WITH (FORMAT text, ENCODING 'UTF8')").format(
        _identifiers(names), table.identifier
    )
    with writing(path, key) as file:
        cursor.copy_expert(copy, file.sink)
    digest = table_digest(cursor, table, names)
    return BackupTable(table, role, tuple(columns), digest, path.name, file.bytes, file.sha256)


def _read_back(
    settings: Settings, folder: Path, key: pyrage.x25519.Identity | None, on_progress: OnProgress
) -> Manifest:
    """Check every file, load every table into a scratch table, compare; roll back."""
    manifest = read_manifest(folder, key)
    total = len(manifest.tables)
    with (
        connect(settings.nexus_database_url.get_secret_value()) as connection,
        connection.cursor() as cursor,
    ):
        prepare_session(cursor, settings)
        for number, table in enumerate(manifest.tables):
            on_progress("verify", number, total)
            scratch = load_scratch(cursor, folder, table, key, f"backup_{number}")
            cursor.execute(sql.SQL("DROP TABLE {}").format(scratch.identifier))
        on_progress("verify", total, total)
        connection.rollback()
    return manifest


def _record(url: str, backup: Backup, run_id: str | None) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fm_pipeline.backups"
            " (id, run_id, created_at, folder, encrypted, bytes, digests, verified_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())"
            " ON CONFLICT (id) DO UPDATE SET verified_at = excluded.verified_at, folder = excluded.folder",
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
        connection.commit()


def _forget(url: str, backup: Backup) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM fm_pipeline.backups WHERE id = %s", (backup.id,))
        connection.commit()


@contextmanager
def _only_one(root: Path) -> Iterator[Path]:
    """The folder of the backups, for one writer at a time; what a killed one left is removed."""
    make_private_folder(root)
    descriptor = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupStop(
                "Another backup is being written to the same folder.",
                meaning="This one has written nothing.",
                remedy="Wait until it has ended.",
            ) from None
        for leftover in root.glob(f"*{PARTIAL}"):
            shutil.rmtree(leftover)
        yield root
    finally:
        os.close(descriptor)


@contextmanager
def _partial(folder: Path) -> Iterator[Path]:
    """A folder of mode 0700 for a backup that is not one yet; gone unless the block renames it."""
    partial = folder.with_name(folder.name + PARTIAL)
    partial.mkdir(mode=0o700)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _identifiers(names: Collection[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
