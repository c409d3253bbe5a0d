"""Read a found file so that the bytes that are hashed are the bytes that are sent, and detect changes meanwhile."""

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
from fm_pipeline.dicom.files.buffer import BufferFile, BundleBuffer
from fm_pipeline.dicom.files.byte_source import Seekable
from fm_pipeline.dicom.files.is_dicom import inspect
from fm_pipeline.dicom.files.open import FileChangedError, open_found, unchanged, unreadable_reason
from fm_pipeline.dicom.model import FoundFile, Instance, Outcome, RejectedFile
from fm_pipeline.dicom.reasons import ARCHIVE

# A file up to this size is read into memory once. Four threads with a bundle of files each stay far below 200 MB.
WHOLE_UP_TO_BYTES = 8 << 20
_BLOCK = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that may be sent.

    Attributes:
        found: the file as it was when it was read, which may be later than the scan.
        data: the whole file; None if it is streamed. Valid until its buffer is cleared.
        md5: None if the file is streamed from the disk: then it is known after the upload.
        unpacked: the content of a large file in an archive, in a temporary file, until `close`.
    """

    found: FoundFile
    instance: Instance
    data: memoryview | None
    md5: str | None
    unpacked: IO[bytes] | None = None

    def close(self) -> None:
        """Delete the temporary file, if there is one."""
        if self.unpacked:
            self.unpacked.close()


@dataclass(frozen=True, slots=True)
class UnusableFile:
    """A file that is not sent, with its outcome (SKIPPED, BAD or FAILED), and its MD5 if it was read."""

    found: FoundFile
    outcome: Outcome
    reason: str
    md5: str | None = None


def read_candidate(found: FoundFile, memory: BundleBuffer | None = None) -> Candidate | UnusableFile:
    """Inspect a file, and read it into the buffer if it is small enough.

    A file that has changed since the scan is read again once: perhaps only its permissions were changed, or the scan
    was long ago. If it changes again, or is damaged now, it is being written. It is FAILED and tried again later.
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


def _read(found: FoundFile, memory: BundleBuffer | None) -> Candidate | UnusableFile:
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
    """Inspect a file. One that makes our code or a library fail is FAILED, and does not stop the others.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return inspect(content, size)
    except OSError:
        raise
    except Exception as fault:  # noqa: BLE001  # logged without its text, which may hold patient data
        _log.warning("A file was not understood: %s. Please report it.", type(fault).__name__)
        return RejectedFile(Outcome.FAILED, "not_understood")


def inspect_or_archive(content: Seekable, file: BinaryIO, found: FoundFile) -> Instance | RejectedFile:
    """Inspect a file, and look for an archive that does not begin as one. Its reason is `ARCHIVE`.

    Args:
        content: the content of the file, or the file itself.
        file: the open file.
    """
    result = inspect_safely(content, found.size)
    unmarked = isinstance(result, RejectedFile) and result.reason in {"not_dicom", "text", "zeros", "magic_elsewhere"}
    if unmarked and is_archive_without_mark(file.fileno(), found.size):
        return RejectedFile(Outcome.SKIPPED, ARCHIVE)
    return result


def _filled(file: BinaryIO, data: memoryview) -> int:
    """Fill a buffer from a file, and return how many bytes there were. A share may return fewer than requested."""
    done = 0
    while done < len(data) and (more := file.readinto(data[done:])):  # type: ignore[attr-defined]
        done += more
    return done


class FileBecameUnreadableError(Exception):
    """A file became unreadable while it was sent. `reason` is an id of `reasons.UNREADABLE`.

    It is not an OSError, because that would be taken for an error of the connection.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Stream:
    """The blocks of a large file, hashed while they are sent. Iterate over it once.

    The last block is held back until the file is known to be unchanged. A file that is written meanwhile never reaches
    Orthanc completely, and Orthanc stores only complete files.
    """

    def __init__(self, found: FoundFile) -> None:
        self._found = found
        self._digest = hashlib.md5(usedforsecurity=False)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the blocks.

        Raises:
            FileChangedError: the file changed; nothing was stored.
            FileBecameUnreadableError: the file cannot be read any more; nothing was stored.
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
        """The MD5 of the blocks so far."""
        return self._digest.hexdigest()


def blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the blocks of a temporary file, from its beginning.

    Raises:
        FileBecameUnreadableError: it cannot be read.
    """
    with _reading():
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block


def md5_of(found: FoundFile) -> str:
    """Return the MD5 of a large file without sending it.

    Raises:
        FileChangedError, FileBecameUnreadableError: as for `Stream`.
    """
    stream = Stream(found)
    for _ in stream:
        pass
    return stream.md5


def found_file(path: str) -> FoundFile | None:
    """Return the regular file at a path, or None. A link is not one.

    Raises:
        OSError: the path cannot be examined.
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
    """Return a file that has changed since the scan, as it is now.

    Raises:
        FileChangedError: it is no longer a file of the same tree.
        OSError: it cannot be examined.
    """
    # A directory of the path may have become a link since the scan. The next scan decides about such files.
    directory = os.path.dirname(found.path)
    if os.path.realpath(directory) != directory:
        raise FileChangedError
    now = found_file(found.path)
    if now is None or not _inside_the_same_tree(found, now):
        raise FileChangedError
    return now


def _inside_the_same_tree(found: FoundFile, now: FoundFile) -> bool:
    """Return False if the device differs: a file system was mounted or unmounted there."""
    return found.device == now.device


def _raise_if_changed(file: BinaryIO, found: FoundFile) -> None:
    if not unchanged(file, found):
        raise FileChangedError
