"""Writing to the local disk during a pull. Its errors must not be taken for lost connections."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from fm_pipeline.errors import FtpError

FREE_BYTES = 512 * 1024 * 1024  # that stay free on the disk
_LONGEST_KEPT = 230  # bytes of a name that gets a time behind it
# Errors of file systems for a name that is too long or has unsupported characters.
NAME_ERRORS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


class LocalDiskError(Exception):
    """The local disk failed, not the connection; args[0] is the OSError."""


def exists(path: Path) -> bool:
    """Return whether a path exists. Unlike `os.path.lexists`, raise an error if that cannot be found out."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def is_gone(path: Path) -> bool:
    """Return whether it is certain that a path does not exist. If it cannot be found out, the answer is no."""
    try:
        return not exists(path)
    except OSError:
        return False


def is_file_of_size(path: Path, size: int) -> bool:
    """Return whether a path is that of a regular file of a size."""
    facts = os.lstat(path)
    return stat.S_ISREG(facts.st_mode) and facts.st_size == size


def keep_earlier(target: Path, later: Path, is_recorded: Callable[[Path, os.stat_result], bool]) -> bool:
    """Give an earlier file another name before a later one gets its name.

    A sender may use a name again for another image. The earlier file is not kept if an import has recorded it, or if
    the later one begins with all of it: then its upload was not complete.

    Args:
        target: the name; nothing may be there.
        is_recorded: for the name and the facts of the earlier file.

    Returns:
        Whether the earlier file was kept.
    """
    if not exists(target):
        return False
    facts = os.lstat(target)
    if is_recorded(target, facts) or (stat.S_ISREG(facts.st_mode) and begins_with(later, target)):
        return False
    at = datetime.fromtimestamp(facts.st_mtime, UTC)
    name = (
        target.name
        if len(os.fsencode(target.name)) < _LONGEST_KEPT
        else hashlib.sha256(os.fsencode(target)).hexdigest()
    )
    os.rename(target, target.with_name(f"{name}.{at:%Y%m%dT%H%M%S%f}"))
    return True


def begins_with(later: Path, earlier: Path) -> bool:
    """Return whether a file begins with all of another one; False if one of them cannot be read."""
    try:
        with earlier.open("rb") as one, later.open("rb") as other:
            while block := one.read(1 << 20):
                if other.read(len(block)) != block:
                    return False
    except OSError:  # an earlier file that cannot be read is kept; to rename it takes no right to read it
        return False
    return True


def sync_directory(folder: Path) -> None:
    """Flush a directory, so that a new name is on the disk (fsync(2)). Network shares may not support it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_all(handle: int, block: bytes) -> None:
    """Write all of a block."""
    view = memoryview(block)
    while view:
        view = view[os.write(handle, view) :]


T = TypeVar("T")


def on_local_disk(action: Callable[[], T]) -> T:
    """Run an action on the local disk, and raise its errors as `LocalDiskError`."""
    try:
        return action()
    except OSError as error:
        raise LocalDiskError(error) from None


def disk_error(error: OSError) -> FtpError:
    """Return the error to report for an error of the local disk."""
    full = error.errno == errno.ENOSPC
    name = errno.errorcode.get(error.errno or 0, "unknown")
    return FtpError(
        "The disk of the folder for pulled files is (nearly) full."
        if full
        else f"A pulled file could not be written ({name}).",
        meaning="What was pulled stays; the file at hand is not there under its name.",
        remedy=f"Free space: {FREE_BYTES // 1024**2} MB must stay free. Then pull again."
        if full
        else "Check that the folder is mounted and that the pipeline's account may write in it.",
    )
