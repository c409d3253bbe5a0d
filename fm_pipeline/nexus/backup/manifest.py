"""The manifest of a backup: its tables, and the sha256 of every file, so that a changed bit is detected."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyrage

from fm_pipeline.db.digest import Digest
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.backup.files import ENCRYPTED, BackupStop, file_error, open_for_writing, sync_folder
from fm_pipeline.nexus.catalogue.table_details import BackupColumn

FORMAT = 1
MANIFEST = "manifest.json"
CHECKSUM = ".sha256"
# What a restore does with rows of a table that are missing from the backup:
#   replaced    it deletes them: the table becomes what it was
#   kept        it keeps them: users created them, in tables in which a reimport only re-points references
#   referenced  it touches none; it only adds a row that a restored row refers to
Role = Literal["replaced", "kept", "referenced"]


@dataclass(frozen=True)
class BackupTable:
    """A table in a backup, and its file."""

    table: Table
    role: Role
    columns: tuple[BackupColumn, ...]
    digest: Digest
    file: str
    bytes: int
    sha256: str

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]


@dataclass(frozen=True)
class Manifest:
    """What a backup holds."""

    id: str
    created_at: datetime
    database: str
    postgresql: int  # server_version_num
    schema: str  # fingerprint of the catalogue
    tables: tuple[BackupTable, ...]
    script: str = ""  # name of the file that psql takes; releases before 0.1 wrote none
    script_sha256: str = ""

    @property
    def patients(self) -> int:
        """Number of patients; part of the confirmation of a restore."""
        return next((table.digest.rows for table in self.tables if table.table.name == "patients"), 0)

    @property
    def digests(self) -> dict[str, Digest]:
        """Digests of the tables that a reimport can touch, by table name."""
        return {str(table.table): table.digest for table in self.tables if table.role != "referenced"}

    def as_json(self) -> bytes:
        """Return the content of the manifest's file."""
        content = {"format": FORMAT} | asdict(self) | {"created_at": self.created_at.isoformat()}
        return (json.dumps(content, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Parse the content of the file; its sha256 has been checked.

        Raises:
            BackupStop: another release of the pipeline wrote it.
        """
        content: dict[str, Any] = json.loads(text)
        if content.pop("format", None) != FORMAT:
            raise BackupStop(
                "The backup has a format that this release of the pipeline does not know.",
                meaning="Nothing was changed.",
                remedy="Restore it with the release that wrote it.",
            )
        tables = tuple(
            BackupTable(
                **entry
                | {
                    "table": Table(*entry["table"]),
                    "columns": tuple(BackupColumn(**column) for column in entry["columns"]),
                    "digest": Digest(*entry["digest"]),
                }
            )
            for entry in content.pop("tables")
        )
        return cls(**content | {"created_at": datetime.fromisoformat(content["created_at"]), "tables": tables})


def write_manifest(folder: Path, manifest: Manifest, key: pyrage.x25519.Identity | None) -> int:
    """Write the manifest and, last of all, its sha256; return the size of both in bytes."""
    path = folder / (MANIFEST + (ENCRYPTED if key else ""))
    with open_for_writing(path, key, compress=False) as written:
        written.sink.write(manifest.as_json())
    with open_for_writing(folder / (path.name + CHECKSUM), None, compress=False) as checksum:
        checksum.sink.write(_checksum(path.name, written.sha256))
    sync_folder(folder)
    return written.bytes + checksum.bytes


def read_manifest(folder: Path, key: pyrage.x25519.Identity | None) -> Manifest:
    """Read a backup's manifest and check the sha256 of every file.

    Raises:
        BackupStop: it is no backup, is incomplete, was changed since it was written, or has another key.
    """
    try:
        names = {entry.name for entry in os.scandir(folder)}
        manifest_name = MANIFEST + ENCRYPTED if MANIFEST + ENCRYPTED in names else MANIFEST
        if not {manifest_name, manifest_name + CHECKSUM} <= names:
            raise _refused("has no manifest with its sha256", "It is no backup, or one that was never finished.")
        content = (folder / manifest_name).read_bytes()
        checksum = (folder / (manifest_name + CHECKSUM)).read_bytes()
        if checksum != _checksum(manifest_name, hashlib.sha256(content).hexdigest()):
            raise _refused("has a manifest that was changed after it was written")
        manifest = Manifest.from_json(_decrypted(content, key) if manifest_name != MANIFEST else content)
        expected = {table.file for table in manifest.tables} | ({manifest.script} if manifest.script else set())
        missing = sorted(expected - names)
        if missing:
            raise _refused(f"lacks the files {', '.join(missing)}")
        if names != expected | {manifest_name, manifest_name + CHECKSUM}:
            raise _refused("holds files that its manifest does not name", remedy="Take them out and try again.")
        for table in manifest.tables:
            if _sha256(folder / table.file) != (table.bytes, table.sha256):
                raise _refused(f"has a damaged file: {table.file} is not what was written")
        if manifest.script and _sha256(folder / manifest.script)[1] != manifest.script_sha256:
            raise _refused(f"has a damaged file: {manifest.script} is not what was written")
    except OSError as error:
        raise file_error("The backup could not be read", error) from None
    return manifest


def file_name(number: int, table: Table, key: object | None) -> str:
    """Return the name of a table's file. A table's name may contain any character."""
    plain = re.sub(r"[^a-z0-9_]", "_", table.name.lower())
    return f"{number:02}-{plain}.copy.gz{ENCRYPTED if key else ''}"


def _decrypted(content: bytes, key: pyrage.x25519.Identity | None) -> bytes:
    if key is None:
        raise _refused("is encrypted", remedy="Set BACKUP_KEY to the key that it was written with.")
    try:
        return bytes(pyrage.decrypt(content, [key]))
    except pyrage.DecryptError:
        raise _refused(
            "is encrypted with another key", remedy="Set BACKUP_KEY to the key that it was written with."
        ) from None


def _refused(
    what: str, meaning: str = "", remedy: str = "Restore another backup; fm-pipeline backup --list shows them."
) -> BackupStop:
    return BackupStop(f"The backup {what}.", meaning=f"{meaning} Nothing was changed.".strip(), remedy=remedy)


def _checksum(name: str, sha256: str) -> bytes:
    return f"{sha256}  {name}\n".encode()


def _sha256(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return os.fstat(file.fileno()).st_size, digest
