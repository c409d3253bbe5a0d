"""Our own disk, as a pull writes to it: its errors are no lost connections, and get a sentence of their own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from fm_pipeline.errors import FtpError

FREE_BYTES = 512 * 1024 * 1024  # that stay free on the disk
# What file systems say of a name that they do not take: too long, or with characters that they do not have.
NAME_ERRORS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


class LocalDiskError(Exception):
    """Our own disk failed, not the connection; args[0] is the OSError."""


def exists(path: Path) -> bool:
    """Like `os.path.lexists`, which also calls what cannot be looked at missing."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def sync_directory(folder: Path) -> None:
    """Have the new name on the disk, on file systems that know such a thing (fsync(2)); network shares may not."""
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


def on_our_disk(action: Callable[[], T]) -> T:
    """Errors of our own disk must not look like a lost connection, which would be tried again."""
    try:
        return action()
    except OSError as error:
        raise LocalDiskError(error) from None


def disk_error(error: OSError) -> FtpError:
    """The sentence for it."""
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
