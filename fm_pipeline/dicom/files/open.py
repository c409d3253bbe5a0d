"""Open a file that a scan has found: that very file, never a link, a pipe or another file in its place."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

from fm_pipeline.dicom.model import FoundFile

_LONGEST_STEP = 2000  # bytes of a path in one call; Linux takes less than 4,096
_REASONS = {
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ENOENT: "vanished",
    errno.ENOTDIR: "vanished",
    errno.ELOOP: "vanished",
    errno.ESTALE: "not_mounted",
    errno.ENOTCONN: "not_mounted",
    errno.ENODEV: "not_mounted",
}


class FileChangedError(Exception):
    """The file is no longer the one that the scan found. Its reason is `changed`, and it is tried again."""


def unreadable_reason(error: OSError) -> str:
    """Return the reason for an error: an id of `reasons.UNREADABLE`."""
    return _REASONS.get(error.errno or 0, "input_output")


def open_found(found: FoundFile) -> BinaryIO:
    """Open a found file for unbuffered reading.

    Raises:
        FileChangedError: its size, times or inode differ from the scan. Call `unchanged` again after the last byte.
        OSError: it cannot be opened (`unreadable_reason`).
    """
    descriptor = open_descriptor(found.path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not unchanged(descriptor, found):
            raise FileChangedError
        return open(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def unchanged(file: BinaryIO | int, found: FoundFile) -> bool:
    """Return whether an open file is still the one that the scan found."""
    now = os.fstat(file if isinstance(file, int) else file.fileno())
    return (
        stat.S_ISREG(now.st_mode)
        and (now.st_dev, now.st_ino, now.st_size) == (found.device, found.inode, found.size)
        and (now.st_mtime_ns, now.st_ctime_ns) == (found.modified_ns, found.changed_ns)
    )


def open_descriptor(path: str, flags: int) -> int:
    """Open a path of any length, as `os.open` does. The last component must not be a link."""
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG or len(os.fsencode(path)) < _LONGEST_STEP:
            raise
    directory = os.open(os.sep, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *steps, last = _steps(path)
        for step in steps:
            following = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
            os.close(directory)
            directory = following
        return os.open(last, flags, dir_fd=directory)
    finally:
        os.close(directory)


def _steps(path: str) -> list[str]:
    """Split a path into pieces that fit into one call; the last name is a piece of its own."""
    *parts, last = path.strip(os.sep).split(os.sep)
    steps, step = [], ""
    for part in parts:
        if step and len(os.fsencode(step)) + len(os.fsencode(part)) > _LONGEST_STEP:
            steps.append(step)
            step = ""
        step = f"{step}{os.sep}{part}" if step else part
    return [*steps, *([step] if step else []), last]
