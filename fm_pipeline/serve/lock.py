"""One service for a state folder and for a DAGSTER_HOME: two daemons on one history would start runs twice.

The locks are file locks. Every part inherits them, so that they last until the supervisor and all parts have ended.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from fm_pipeline.errors import PipelineError

LOCK_FILE = "serve.lock"
# The parts of a supervisor that was killed end by themselves in this time (`ServicePart.stop_seconds`).
LEFTOVER_SECONDS = 40.0
POLL_SECONDS = 0.2

_log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the folder's lock inside the block; give its file descriptor.

    If only parts of a killed supervisor hold it, wait until they have ended.

    Raises:
        PipelineError: another service runs there, or the folder is not ours.
    """
    try:
        handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise PipelineError(
            f"The file {folder / LOCK_FILE} cannot be opened: {error.strerror}.",
            meaning="The service writes in this folder. Nothing was started.",
            remedy="Give the folder, and all in it, to the user of the service (chown -R).",
        ) from None
    try:
        _take(handle, folder)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield handle
    finally:
        os.close(handle)


def _take(handle: int, folder: Path) -> None:
    until = time.monotonic() + LEFTOVER_SECONDS
    waiting = False
    while not _try(handle):
        owner = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        if _is_service(owner) or time.monotonic() > until:
            raise PipelineError(
                f"The folder {folder} is in use by another fm-pipeline serve (process {owner or 'unknown'}).",
                meaning="Two of them would start the same runs twice. Nothing was started.",
                remedy="Stop the other one first, or give this one another STATE_DIR and DAGSTER_HOME.",
            )
        if not waiting:
            _log.info("Parts of an earlier service still end. This one starts after them.")
            waiting = True
        time.sleep(POLL_SECONDS)


def _is_service(owner: str) -> bool:
    """Return whether the process that wrote its id still runs. After a crash the id may be another program's."""
    try:
        return owner.isdigit() and "serve" in psutil.Process(int(owner)).cmdline()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
