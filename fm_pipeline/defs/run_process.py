"""How the process of a run is recognised."""

from __future__ import annotations

import psutil

_MARK = "--multiprocessing-fork"  # Dagster's code server starts each run by multiprocessing


def is_run_process(process: psutil.Process) -> bool:
    """Return whether it has the command line of a run's process.

    Raises:
        psutil.Error: it has ended, or is another account's.
    """
    return _MARK in process.cmdline()
