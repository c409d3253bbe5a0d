"""Ctrl-C and SIGTERM: what a command says after them, and commands that run until they are interrupted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

STDERR = 2
TERMINATED = 128 + signal.SIGTERM  # the exit code of a program that SIGTERM has ended, as shells give it


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


def exit_at_sigterm() -> None:
    """Let SIGTERM take the same way out as Ctrl-C: what was started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))


@contextmanager
def at_interrupt(meaning: str, remedy: str) -> Iterator[None]:
    """Give a Ctrl-C in the block sentences of its own, which `fm-pipeline` prints. After SIGTERM, print them."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted.", meaning, remedy) from None
    except SystemExit as end:
        if end.code == TERMINATED:
            click.echo(f"Terminated. {meaning} {remedy}", err=True)
        raise
