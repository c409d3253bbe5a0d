"""Ctrl-C and SIGTERM: what a command says after them, and commands that run until they are interrupted."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

STDERR = 2
# The exit codes of a program that SIGINT or SIGTERM has ended, as shells give them.
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


def restore_sigint(words: str = "") -> None:
    """Let SIGINT raise KeyboardInterrupt, also if a shell started the process with SIGINT ignored (background job).

    Args:
        words: printed to standard error at once, at the first one; for a command that takes long to stop. With words,
            an interrupt does not end a wait for PostgreSQL (`fm_pipeline.db.interrupts` knows only Python's handler).
    """
    if not words:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return
    unsaid = [words]

    def handle(number: int, frame: FrameType | None) -> None:
        if unsaid:
            os.write(STDERR, f"\n{unsaid.pop()}\n".encode())  # sys.stderr may be in the middle of a write
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, handle)


def ignore_further_interrupts() -> None:
    """Ignore SIGINT from now on. People press Ctrl-C again: that must not end the sentence about the first one.

    Outside the main thread this does nothing.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_at_next_interrupt() -> None:
    """Let the next SIGINT end the process at once: a thread that waits for a server may keep it for minutes.

    Outside the main thread this does nothing.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


def exit_at_sigterm() -> None:
    """Let SIGTERM take the same way out as Ctrl-C: what was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))


@contextmanager
def at_interrupt(meaning: str, remedy: str) -> Iterator[None]:
    """Give a Ctrl-C in the block sentences of its own, which `fm-pipeline` prints. After SIGTERM, print them."""
    try:
        yield
    except KeyboardInterrupt:
        ignore_further_interrupts()
        raise KeyboardInterrupt("Interrupted.", meaning, remedy) from None
    except SystemExit as end:
        if end.code == TERMINATED:
            click.echo(f"Terminated. {meaning} {remedy}", err=True)
        raise
