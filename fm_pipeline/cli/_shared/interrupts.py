"""Ctrl-C for commands that run until they are interrupted."""

from __future__ import annotations

import signal


def restore_sigint() -> None:
    """Let SIGINT raise KeyboardInterrupt, also if a shell started the process with SIGINT ignored (background job)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
