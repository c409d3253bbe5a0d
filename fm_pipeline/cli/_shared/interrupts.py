"""Ctrl-C: what a command says after it, and commands that run until they are interrupted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


def restore_sigint() -> None:
    """Let SIGINT raise KeyboardInterrupt, also if a shell started the process with SIGINT ignored (background job)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def at_interrupt(meaning: str, remedy: str) -> Iterator[None]:
    """Give a Ctrl-C in the block sentences of its own, which `fm-pipeline` prints."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted.", meaning, remedy) from None
