"""Kill what runs in a child of this process, at a moment that the child itself comes to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from fm_pipeline.db.commit import commit
from fm_pipeline.sequence import sync, undo_sync


def die() -> None:
    """Kill this process, at once and without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill(work: Callable[[], object]) -> bool:
    """Do some work in a child, and return whether it died in the work."""
    if not (child := os.fork()):
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def kill_after_commit(work: Callable[[], object]) -> bool:
    """Do the same, and die right after a sync, or the undoing of one, was committed."""

    def commit_and_die(*arguments: Any) -> None:
        commit(*arguments)
        die()

    def patched() -> None:
        for module in (sync, undo_sync):
            pytest.MonkeyPatch().setattr(module, "commit", commit_and_die)  # of the child
        work()

    return kill(patched)
