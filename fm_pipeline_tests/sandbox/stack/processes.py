"""The processes that belong to a folder, and Ctrl-C in a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline_tests.support.waiting import LIMIT_SECONDS, wait_until

REPEAT_SECONDS = 0.05  # as fast as people press a key


def processes_of(folder: Path, program: str = "") -> list[psutil.Process]:
    """Every living process but ours with the folder, and the program, on its command line."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            alive = process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid()
            if alive and str(folder) in line and program in line:
                found.append(process)
        except psutil.Error:
            continue
    return found


def interrupted(
    *words: str,
    at: Callable[[], bool],
    again: bool = False,
    number: int = signal.SIGINT,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Start `fm-pipeline`, and press Ctrl-C as in a terminal: its children get it too, unless they have left.

    Args:
        at: holds at the moment of the first one.
        again: press it again and again until the command has ended.
        number: of the signal, if it is not Ctrl-C's.

    Returns:
        The exit code as a shell gives it (Python ends by the signal itself if one comes at its very end), and what was
        printed to standard error.
    """
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "fm_pipeline", *words],
        cwd=PACKAGE_PARENT,
        env=os.environ | (environment or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as command:
        try:
            wait_until(lambda: at() or command.poll() is not None)
            os.killpg(command.pid, number)
            until = time.monotonic() + LIMIT_SECONDS
            while again and command.poll() is None and time.monotonic() < until:
                time.sleep(REPEAT_SECONDS)
                os.killpg(command.pid, number)
            _, said = command.communicate(timeout=LIMIT_SECONDS)
        finally:
            command.kill()
    code = command.returncode
    return (code if code >= 0 else 128 - code), said
