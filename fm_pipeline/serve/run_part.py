"""Runs a part, and ends it when the supervisor has ended in whatever way.

    python -m fm_pipeline.serve.run_part SECONDS MODULE [ARGUMENT…]

Standard input is a pipe that only the supervisor holds open. The system closes it also after SIGKILL. Runs of Dagster
are not ended: they are processes of their own and go on.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading

STDIN = 0


def main(seconds: str, module: str, *arguments: str) -> None:
    """Run the module as a program.

    Args:
        seconds: between SIGTERM and SIGKILL, once the supervisor is gone.
    """
    threading.Thread(target=_end_with_supervisor, args=(float(seconds),), daemon=True).start()
    sys.argv = [module, *arguments]
    # As `python -m` does: the processes that multiprocessing starts find the same main module.
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_supervisor(seconds: float) -> None:
    while os.read(STDIN, 1):  # not sys.stdin: its lock would crash the interpreter at its end
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
