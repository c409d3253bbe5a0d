"""The files of a backup: one compressed file a table, a manifest, the manifest's sha256; all encrypted with a key.

    <time>-<id8>/
        manifest.json[.age]            tables, columns, rows, digests, sha256 of every file
        manifest.json[.age].sha256     as `sha256sum` writes it
        load.psql[.age]                loads it with psql alone
        01-patients.copy.gz[.age]      what COPY gives in text format: it goes into any other release of PostgreSQL

The encryption is age (https://age-encryption.org/v1) with an X25519 key: a stream, authenticated in chunks, whose end
cannot be cut off unnoticed, and which anybody who has the key can read without this program:
`age -d -i KEYFILE 01-patients.copy.gz.age | gunzip`. No plain text touches the disk.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal, Protocol

import pyrage

from fm_pipeline.errors import SettingsError, Stop
from fm_pipeline.settings import Settings

ENCRYPTED = ".age"
# Level 1: 95 % of what level 6 saves, at a third of its time (measured on the synthetic clinic).
COMPRESSION = 1
_BLOCK = 1 << 18


class BackupStop(Stop):
    """A backup cannot be written, or is not what it must be. Nexus is unchanged."""


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


class _HashingFile:
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
def _thread_with_pipe(work: Callable[[int], None], *, writes: bool) -> Iterator[IO[bytes]]:
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
def open_for_writing(path: Path, key: pyrage.x25519.Identity | None, *, compress: bool = True) -> Iterator[WrittenFile]:
    """A new file, mode 0600, that is on the disk when the block ends.

    Raises:
        OSError: it cannot be written; the disk is full.
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
        # What is read back is to come from the disk and not from memory.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    result.bytes, result.sha256 = hashing.bytes, hashing.sha256


class WrittenFile:
    """A file while it is written; what is known of it afterwards."""

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

    with _thread_with_pipe(decrypt, writes=False) as compressed, gzip.GzipFile("", "rb", fileobj=compressed) as plain:
        yield plain


def file_error(do: Literal["read", "write"], error: OSError) -> BackupStop:
    """An error of the file system as ours."""
    reason = error.strerror or type(error).__name__
    return BackupStop(
        f"The backup could not be {'written' if do == 'write' else do}: {reason}"
        + (f" ({error.filename})." if error.filename else "."),
        meaning="Nothing was changed in Nexus.",
        remedy="Check that the folder of the backups exists, has room, and belongs to the pipeline's user"
        " (BACKUP_DIR; by default `backups` in STATE_DIR).",
    )


def sync_folder(folder: Path) -> None:
    """What was created or renamed in a folder survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
