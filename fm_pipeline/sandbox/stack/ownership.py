"""Ownership of a state folder: one process at a time, by a file lock that ends with the process.

The locked file also contains the process id, for messages. The id alone would not be enough, because ids are reused.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.stack.waiting import wait_until

OWNER_FILE = "owner.lock"
TAKE_LIMIT_SECONDS = 1.0  # a process that only checks holds the lock for a moment

_held: dict[Path, int] = {}  # by folder: how many times this process has taken it


@contextmanager
def owned(folder: Path, *, patient: bool = False) -> Iterator[None]:
    """Own an existing folder inside the block. The same process may take it more than once.

    Args:
        patient: wait until no other process uses it, however long that takes.

    Raises:
        PipelineError: another process uses it; names its id.
    """
    folder = folder.resolve()
    if folder in _held:
        _held[folder] += 1
        try:
            yield
        finally:
            _held[folder] -= 1
        return
    handle = os.open(folder / OWNER_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if patient:
            fcntl.flock(handle, fcntl.LOCK_EX)
        elif not wait_until(lambda: _lock(handle, fcntl.LOCK_EX), TAKE_LIMIT_SECONDS):
            raise _in_use(folder, _read(handle))
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        _held[folder] = 1
        try:
            yield
        finally:
            del _held[folder]
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def refuse_if_in_use(folder: Path) -> None:
    """Raise PipelineError if another process uses the folder; names its id."""
    try:
        handle = os.open(folder / OWNER_FILE, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        if folder.resolve() not in _held and not _lock(handle, fcntl.LOCK_SH):
            raise _in_use(folder, _read(handle))
    finally:
        os.close(handle)


def _in_use(folder: Path, owner: str) -> PipelineError:
    return PipelineError(
        f"The state folder {folder} is in use by process {owner or 'that has just begun'}.",
        meaning="Its servers belong to that process. Nothing was started, stopped or removed.",
        remedy="End that process first (Ctrl-C where it runs), or name another folder with --state-dir.",
    )


def _read(handle: int) -> str:
    return os.pread(handle, 20, 0).decode("ascii", "replace").strip()


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
