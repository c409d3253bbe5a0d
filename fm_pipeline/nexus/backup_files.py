"""A backup as files: one compressed file a table, a manifest, the manifest's sha256; all encrypted with a key.

    <time>-<id8>/
        manifest.json[.age]            tables, columns, rows, digests, sha256 of every file
        manifest.json[.age].sha256     as `sha256sum` writes it
        01-patients.copy.gz[.age]      what COPY gives in text format: it goes into any other release of PostgreSQL

The encryption is age (https://age-encryption.org/v1) with an X25519 key: a stream, authenticated in chunks, whose end
cannot be cut off unnoticed, and which anybody who has the key can read without this program:
`age -d -i KEYFILE 01-patients.copy.gz.age | gunzip`. No plain text touches the disk.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import pyrage

from fm_pipeline.errors import SettingsError, Stop
from fm_pipeline.nexus.catalogue import Table
from fm_pipeline.nexus.digest import Digest
from fm_pipeline.settings import Settings

FORMAT = 1
MANIFEST = "manifest.json"
ENCRYPTED = ".age"
CHECKSUM = ".sha256"
# Level 1: three quarters of what level 6 saves, at a third of its time.
COMPRESSION = 1
_BLOCK = 1 << 18

# What a restore does with the rows of a table that the backup does not have:
#   replaced    they go: the table becomes what it was
#   kept        they stay: users made them, in tables that a reimport only mends
#   referenced  not touched at all; a row is added where a restored row needs it
Role = Literal["replaced", "kept", "referenced"]


class BackupStop(Stop):
    """A backup cannot be written, or is not what it must be. Nexus is unchanged."""


@dataclass(frozen=True)
class BackupColumn:
    """A column as it was; `type` is as `format_type` writes it."""

    name: str
    type: str


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
        """Of the columns."""
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

    @property
    def patients(self) -> int:
        """Number of patients, which a restore has to be confirmed with."""
        return next((table.digest.rows for table in self.tables if table.table.name == "patients"), 0)

    @property
    def digests(self) -> dict[str, Digest]:
        """Of the tables that a reimport can touch, by name."""
        return {str(table.table): table.digest for table in self.tables if table.role != "referenced"}

    def as_json(self) -> bytes:
        """The manifest's file."""
        content = {"format": FORMAT} | asdict(self) | {"created_at": self.created_at.isoformat()}
        return (json.dumps(content, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Back from the file; its sha256 has been checked.

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


class Readable(Protocol):
    """What COPY FROM STDIN reads."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, nothing at the end."""


class Writable(Protocol):
    """What COPY TO STDOUT writes to."""

    def write(self, data: bytes, /) -> int:
        """Take all of `data`."""

    def flush(self) -> object:
        """Pass on what is buffered."""


def new_key() -> str:
    """A new key for BACKUP_KEY."""
    return str(pyrage.x25519.Identity.generate())


def read_key(settings: Settings) -> pyrage.x25519.Identity | None:
    """The key of the settings; None when backups are not encrypted.

    Raises:
        SettingsError: it is not a key; the message does not repeat it.
    """
    secret = settings.backup_key
    if secret is None or not secret.get_secret_value().strip():
        return None
    try:
        return pyrage.x25519.Identity.from_str(secret.get_secret_value().strip())
    except pyrage.IdentityError:
        raise SettingsError(
            "BACKUP_KEY is not a key of age.",
            meaning="No backup was written or read.",
            remedy="It begins with AGE-SECRET-KEY-1; `fm-pipeline backup --new-key` makes one.",
        ) from None


class _Hashing:
    """A file that counts and hashes what is written to it, and remembers why it could not be."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.bytes = 0
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            self._file.write(data)
        except OSError as fault:
            self.fault = fault  # age passes on its text only
            raise
        self._sha256.update(data)
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


@contextmanager
def _beside(work: Callable[[int], None], *, writes: bool) -> Iterator[IO[bytes]]:
    """Run `work` in a thread at the other end of a pipe: age wants to pull and to push, and so does COPY.

    Args:
        work: gets the descriptor of its end, and closes it.
        writes: whether we write and `work` reads.

    Raises:
        Exception: what `work` raised; it comes before what its closed pipe made of it on our side.
    """
    reading_end, writing_end = os.pipe()
    faults: list[BaseException] = []

    def run() -> None:
        try:
            work(reading_end if writes else writing_end)
        except BaseException as fault:  # noqa: BLE001  # raised again on the other side
            faults.append(fault)

    thread = threading.Thread(target=run, name="age")
    thread.start()
    ours = os.fdopen(writing_end, "wb") if writes else os.fdopen(reading_end, "rb")
    try:
        yield ours
        ours.close()
    except BaseException as error:
        with suppress(OSError):  # nobody reads any more
            ours.close()
        thread.join()
        if faults and not isinstance(faults[0], BrokenPipeError):
            raise faults[0] from error
        raise
    thread.join()
    if faults:
        raise faults[0]


@contextmanager
def writing(path: Path, key: pyrage.x25519.Identity | None, *, compress: bool = True) -> Iterator[_Writing]:
    """A new file, mode 0600, that is on the disk when the block ends.

    Raises:
        OSError: it cannot be written; the disk is full.
    """
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=_BLOCK) as file:
        hashing = _Hashing(file)
        result = _Writing()
        try:
            with _encrypting(hashing, key) as sink:
                if compress:
                    with gzip.GzipFile("", "wb", COMPRESSION, sink, mtime=0) as result.sink:
                        yield result
                else:
                    result.sink = sink
                    yield result
            hashing.flush()
            os.fsync(file.fileno())
        except BaseException:
            if hashing.fault is not None:
                raise hashing.fault from None
            raise
        # What is read back is to come from the disk and not from memory.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    result.bytes, result.sha256 = hashing.bytes, hashing.sha256


class _Writing:
    """A file while it is written; what is known of it afterwards."""

    sink: Writable
    bytes = 0
    sha256 = ""


@contextmanager
def _encrypting(sink: _Hashing, key: pyrage.x25519.Identity | None) -> Iterator[Writable]:
    if key is None:
        yield sink
        return

    def encrypt(descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as plain:
            pyrage.encrypt_io(plain, sink, [key.to_public()])  # type: ignore[arg-type]  # write() and flush() are all

    with _beside(encrypt, writes=True) as plain:
        yield plain


@contextmanager
def reading(path: Path, key: pyrage.x25519.Identity | None) -> Iterator[Readable]:
    """The plain content of a table's file.

    Raises:
        OSError, pyrage.DecryptError, EOFError: it cannot be read, is cut, or has another key.
    """
    if key is None or path.suffix != ENCRYPTED:
        with gzip.open(path, "rb") as plain:
            yield plain
        return

    def decrypt(descriptor: int) -> None:
        with path.open("rb") as file, os.fdopen(descriptor, "wb", buffering=_BLOCK) as compressed:
            pyrage.decrypt_io(file, compressed, [key])  # type: ignore[arg-type]  # a BufferedWriter

    with _beside(decrypt, writes=False) as compressed, gzip.GzipFile("", "rb", fileobj=compressed) as plain:
        yield plain


def write_manifest(folder: Path, manifest: Manifest, key: pyrage.x25519.Identity | None) -> int:
    """Write the manifest and, last of all, its sha256; returns the bytes of both."""
    path = folder / (MANIFEST + (ENCRYPTED if key else ""))
    with writing(path, key, compress=False) as written:
        written.sink.write(manifest.as_json())
    with writing(folder / (path.name + CHECKSUM), None, compress=False) as checksum:
        checksum.sink.write(_checksum(path.name, written.sha256))
    sync_folder(folder)
    return written.bytes + checksum.bytes


def read_manifest(folder: Path, key: pyrage.x25519.Identity | None) -> Manifest:
    """Read a backup's manifest and hold every file against it, to the last bit.

    Raises:
        BackupStop: not a backup, not a whole one, changed since it was written, or encrypted with another key.
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
        expected = {table.file for table in manifest.tables}
        missing = sorted(expected - names)
        if missing:
            raise _refused(f"lacks the files {', '.join(missing)}")
        if names != expected | {manifest_name, manifest_name + CHECKSUM}:
            raise _refused("holds files that its manifest does not name", remedy="Take them out and try again.")
        for table in manifest.tables:
            if _sha256(folder / table.file) != (table.bytes, table.sha256):
                raise _refused(f"has a damaged file: {table.file} is not what was written")
    except OSError as error:
        raise cannot("read", error) from None
    return manifest


def _decrypted(content: bytes, key: pyrage.x25519.Identity | None) -> bytes:
    if key is None:
        raise _refused("is encrypted", remedy="Set BACKUP_KEY to the key that it was written with.")
    try:
        return bytes(pyrage.decrypt(content, [key]))
    except pyrage.DecryptError:
        raise _refused(
            "is encrypted with another key", remedy="Set BACKUP_KEY to the key that it was written with."
        ) from None


def _refused(what: str, meaning: str = "", remedy: str = "Restore another backup.") -> BackupStop:
    return BackupStop(f"The backup {what}.", meaning=f"{meaning} Nothing was changed.".strip(), remedy=remedy)


def cannot(do: Literal["read", "write"], error: OSError) -> BackupStop:
    """An error of the file system as ours."""
    reason = error.strerror or type(error).__name__
    return BackupStop(
        f"The backup could not be {'written' if do == 'write' else do}: {reason}"
        + (f" ({error.filename})." if error.filename else "."),
        meaning="Nothing was changed in Nexus.",
        remedy="Check that the folder of the backups exists, has room, and belongs to the pipeline's user"
        " (BACKUP_DIR; by default `backups` in STATE_DIR).",
    )


def file_name(number: int, table: Table, key: object | None) -> str:
    """Name of a table's file; a table may be called anything."""
    plain = re.sub(r"[^a-z0-9_]", "_", table.name.lower())
    return f"{number:02}-{plain}.copy.gz{ENCRYPTED if key else ''}"


def sync_folder(folder: Path) -> None:
    """What was created or renamed in a folder survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checksum(name: str, sha256: str) -> bytes:
    return f"{sha256}  {name}\n".encode()


def _sha256(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return os.fstat(file.fileno()).st_size, digest
