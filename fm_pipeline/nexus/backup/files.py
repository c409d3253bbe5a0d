"""The files of a backup: one compressed file a table, a manifest, the manifest's sha256; all encrypted with a key.

    <time>-<id8>/
        manifest.json[.age]            tables, columns, rows, digests, sha256 of every file
        manifest.json[.age].sha256     in the format of `sha256sum`
        load.psql[.age]                loads the backup with psql alone
        01-patients.copy.gz[.age]      COPY's text format, which every release of PostgreSQL reads

The encryption is age (https://age-encryption.org/v1) with an X25519 key. It authenticates the stream in chunks, so that
a truncated file is detected. Whoever has the key can decrypt a file without this program:
`age -d -i KEYFILE 01-patients.copy.gz.age | gunzip`. No plain text is written to the disk.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

import pyrage

from fm_pipeline.errors import SettingsError, Stop
from fm_pipeline.settings import Settings

ENCRYPTED = ".age"
# Level 1 saves 95 % of what level 6 saves, in a third of its time (measured on the synthetic clinic).
COMPRESSION = 1
_BLOCK = 1 << 18


class BackupStop(Stop):
    """A backup cannot be written, read or restored. Nexus is unchanged."""


class Readable(Protocol):
    """A file that COPY FROM STDIN reads."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; no bytes at the end."""


class Writable(Protocol):
    """A file that COPY TO STDOUT writes to."""

    def write(self, data: bytes, /) -> int:
        """Write all of `data`."""

    def flush(self) -> object:
        """Write what is buffered."""


def new_key() -> str:
    """Return a new key for BACKUP_KEY."""
    return str(pyrage.x25519.Identity.generate())


def read_key(settings: Settings) -> pyrage.x25519.Identity | None:
    """Return the key of the settings, or None if backups are not encrypted.

    Raises:
        SettingsError: the value is not a key; the message does not repeat it.
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


class _HashingFile:
    """A file that counts and hashes what is written to it, and keeps the error if writing fails."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.bytes = 0
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            self._file.write(data)
        except OSError as fault:
            self.fault = fault  # age passes on only its text
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
def _thread_with_pipe(work: Callable[[int], None], *, writes: bool) -> Iterator[IO[bytes]]:
    """Run `work` in a thread at the other end of a pipe. Both age and COPY call read() and write() themselves.

    Args:
        work: gets the descriptor of its end, and closes it.
        writes: whether the block writes and `work` reads.

    Raises:
        Exception: what `work` raised, in preference to the error of the closed pipe on our side.
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
def open_for_writing(path: Path, key: pyrage.x25519.Identity | None, *, compress: bool = True) -> Iterator[WrittenFile]:
    """Create a file of mode 0600 that is synced to the disk when the block ends.

    Raises:
        OSError: it cannot be written, for example because the disk is full.
    """
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=_BLOCK) as file:
        hashing = _HashingFile(file)
        result = WrittenFile()
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
        # The verification must read from the disk and not from the page cache.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    result.bytes, result.sha256 = hashing.bytes, hashing.sha256


class WrittenFile:
    """A file that is being written; its size and sha256 when the block has ended."""

    sink: Writable
    bytes = 0
    sha256 = ""


@contextmanager
def _encrypting(sink: _HashingFile, key: pyrage.x25519.Identity | None) -> Iterator[Writable]:
    if key is None:
        yield sink
        return

    def encrypt(descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as plain:
            pyrage.encrypt_io(plain, sink, [key.to_public()])  # type: ignore[arg-type]  # write() and flush() are all

    with _thread_with_pipe(encrypt, writes=True) as plain:
        yield plain


@contextmanager
def open_for_reading(path: Path, key: pyrage.x25519.Identity | None) -> Iterator[Readable]:
    """Open the decrypted and decompressed content of a table's file.

    Raises:
        OSError, pyrage.DecryptError, EOFError: it cannot be read, is truncated, or has another key.
    """
    if key is None or path.suffix != ENCRYPTED:
        with gzip.open(path, "rb") as plain:
            yield plain
        return

    def decrypt(descriptor: int) -> None:
        with path.open("rb") as file, os.fdopen(descriptor, "wb", buffering=_BLOCK) as compressed:
            pyrage.decrypt_io(file, compressed, [key])  # type: ignore[arg-type]  # a BufferedWriter

    with _thread_with_pipe(decrypt, writes=False) as compressed, gzip.GzipFile("", "rb", fileobj=compressed) as plain:
        yield plain


def file_error(what: str, error: OSError) -> BackupStop:
    """Return an error of the file system as a BackupStop.

    Args:
        what: could not be done, for example `The backup could not be read`.
    """
    reason = error.strerror or type(error).__name__
    return BackupStop(
        f"{what}: {reason}" + (f" ({error.filename})." if error.filename else "."),
        meaning="Nothing was changed in Nexus.",
        remedy="Check that the folder of the backups exists, has room, and belongs to the pipeline's user"
        " (BACKUP_DIR; by default `backups` in STATE_DIR).",
    )


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that files created or renamed in it survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
