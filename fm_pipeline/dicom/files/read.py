"""Reads a found file so that what is hashed is what is sent, and a file that changes meanwhile is noticed."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO

from fm_pipeline.dicom.files.archives.opened import is_archive_without_mark
from fm_pipeline.dicom.files.buffer import BufferFile, ChunkBuffer
from fm_pipeline.dicom.files.byte_source import Seekable
from fm_pipeline.dicom.files.inspect import inspect
from fm_pipeline.dicom.files.open import FileChangedError, open_found, unchanged, unreadable_reason
from fm_pipeline.dicom.model import FoundFile, Instance, Outcome, RejectedFile

# Up to here a file is read once into memory. Four threads with a chunk of files each stay far below 200 MB with it.
WHOLE_UP_TO_BYTES = 8 << 20
_BLOCK = 1 << 20
_log = logging.getLogger(__name__)
ARCHIVE = "archive"  # the reason of a file that is to be opened (`archives`); never that of a row


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that may be sent.

    Attributes:
        found: as it was when it was read, which may be later than the scan.
        data: the whole file, or None if it is streamed; in the memory that it was read into, until that is cleared.
        md5: None if it is streamed from the disk: then it is known when it was sent.
        unpacked: of a large file in an archive: its content, in a file of our own, until `close`.
    """

    found: FoundFile
    instance: Instance
    data: memoryview | None
    md5: str | None
    unpacked: IO[bytes] | None = None

    def close(self) -> None:
        """Nobody reads it any more."""
        if self.unpacked:
            self.unpacked.close()


@dataclass(frozen=True, slots=True)
class UnusableFile:
    """A file that is not sent, with its outcome: SKIPPED, BAD or FAILED; the hash if it was read."""

    found: FoundFile
    outcome: Outcome
    reason: str
    md5: str | None = None


def read_candidate(found: FoundFile, memory: ChunkBuffer | None = None) -> Candidate | UnusableFile:
    """Look at a file, and read it, into that memory or fresh one, if it is small enough.

    A file that is not any more what the scan found is looked at once more, as it is now: perhaps only its rights were
    changed, or the scan was long ago. If it still changes, or what it holds now is broken, somebody is writing it:
    FAILED, to be tried again.
    """
    try:
        try:
            return _read(found, memory)
        except FileChangedError:
            now = refreshed(found)
            again = _read(now, memory)
            if isinstance(again, UnusableFile) and again.outcome is Outcome.BAD:
                raise FileChangedError from None
            return again
    except FileChangedError:
        return UnusableFile(found, Outcome.FAILED, "changed")
    except OSError as error:
        return UnusableFile(found, Outcome.FAILED, unreadable_reason(error))


def _read(found: FoundFile, memory: ChunkBuffer | None) -> Candidate | UnusableFile:
    with open_found(found) as file:
        if found.size > WHOLE_UP_TO_BYTES:
            result = inspect_or_archive(file, file, found)
            _raise_if_changed(file, found)
            if isinstance(result, RejectedFile):
                return UnusableFile(found, result.outcome, result.reason)
            return Candidate(found, result, None, None)
        data = memory.take(found.size) if memory else memoryview(bytearray(found.size))
        if _filled(file, data) != found.size or file.read(1):
            raise FileChangedError
        result = inspect_or_archive(BufferFile(data), file, found)
        _raise_if_changed(file, found)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if isinstance(result, RejectedFile):
        return UnusableFile(found, result.outcome, result.reason, md5)
    return Candidate(found, result, data, md5)


def inspect_safely(content: Seekable, size: int) -> Instance | RejectedFile:
    """What a file is; FAILED for one at which our own code or a library breaks: it must not stop the others.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return inspect(content, size)
    except OSError:
        raise
    except Exception as fault:  # noqa: BLE001  # whatever it is; its text may hold patient data
        _log.warning("A file was not understood: %s. Please report it.", type(fault).__name__)
        return RejectedFile(Outcome.FAILED, "not_understood")


def inspect_or_archive(content: Seekable, file: BinaryIO, found: FoundFile) -> Instance | RejectedFile:
    """What a file is; with the reason `ARCHIVE` if it is to be opened, also where it begins as something else.

    Args:
        content: of the file, or the file itself.
        file: open.
    """
    result = inspect_safely(content, found.size)
    unmarked = isinstance(result, RejectedFile) and result.reason in {"not_dicom", "text", "zeros", "magic_elsewhere"}
    if unmarked and is_archive_without_mark(file.fileno(), found.size):
        return RejectedFile(Outcome.SKIPPED, ARCHIVE)
    return result


def _filled(file: BinaryIO, data: memoryview) -> int:
    """How many bytes of a file there were for a memory; a share may give fewer at once than it was asked for."""
    done = 0
    while done < len(data) and (more := file.readinto(data[done:])):  # type: ignore[attr-defined]
        done += more
    return done


class FileBecameUnreadableError(Exception):
    """A file that is being sent cannot be read any more: reason of `reasons.UNREADABLE`.

    No OSError: that would be taken for one of the connection.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Stream:
    """The blocks of a large file, hashed while they are sent; iterate over it once.

    The last block is held back until the file is seen to be unchanged. So a file that is written to meanwhile never
    reaches Orthanc whole, and Orthanc stores nothing that is not.
    """

    def __init__(self, found: FoundFile) -> None:
        self._found = found
        self._digest = hashlib.md5(usedforsecurity=False)

    def __iter__(self) -> Iterator[bytes]:
        """The blocks.

        Raises:
            FileChangedError: it changed; nothing has been stored.
            FileBecameUnreadableError: it cannot be read any more; nothing has been stored.
        """
        with _reading(), ExitStack() as opened:
            file = opened.enter_context(open_found(self._found))
            held, left = b"", self._found.size
            while left:
                with _reading():
                    block = file.read(min(_BLOCK, left))
                if not block:
                    raise FileChangedError
                left -= len(block)
                self._digest.update(block)
                if held:
                    yield held
                held = block
            with _reading():
                _raise_if_changed(file, self._found)
            yield held

    @property
    def md5(self) -> str:
        """Of what was read."""
        return self._digest.hexdigest()


def blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    """The blocks of a file of our own, from its beginning.

    Raises:
        FileBecameUnreadableError: it cannot be read.
    """
    with _reading():
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block


def md5_of(found: FoundFile) -> str:
    """Of a large file, without sending it.

    Raises:
        FileChangedError, FileBecameUnreadableError: as for `Stream`.
    """
    stream = Stream(found)
    for _ in stream:
        pass
    return stream.md5


def found_file(path: str) -> FoundFile | None:
    """The file at a path, or None if there is no regular one (a link is none).

    Raises:
        OSError: it cannot be asked.
    """
    facts = os.lstat(path)
    if not stat.S_ISREG(facts.st_mode):
        return None
    return FoundFile(path, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_dev, facts.st_ino)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileBecameUnreadableError(unreadable_reason(error)) from None


def refreshed(found: FoundFile) -> FoundFile:
    """A file that is not any more what the scan found, as it is now.

    Raises:
        FileChangedError: it is no file of the same tree any more.
        OSError: it cannot be asked.
    """
    # Perhaps a directory on the way became a link since the scan: what is behind it is for the next scan to judge.
    directory = os.path.dirname(found.path)
    if os.path.realpath(directory) != directory:
        raise FileChangedError
    now = found_file(found.path)
    if now is None or not _inside_the_same_tree(found, now):
        raise FileChangedError
    return now


def _inside_the_same_tree(found: FoundFile, now: FoundFile) -> bool:
    """Of another device: something was mounted, or unmounted, over it."""
    return found.device == now.device


def _raise_if_changed(file: BinaryIO, found: FoundFile) -> None:
    if not unchanged(file, found):
        raise FileChangedError
