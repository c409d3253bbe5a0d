"""Stops a stack when the process that started it has ended, in whatever way.

    python -m fm_pipeline.sandbox.stack.watchdog STATE_DIR [--remove]

Standard input is a pipe that only that process holds open. It is closed also after SIGKILL, on Linux and on macOS.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from fm_pipeline.sandbox.stack.ownership import owned
from fm_pipeline.sandbox.stack.stack import Stack


def main(arguments: list[str]) -> None:
    """Wait for the end of standard input, then stop the stack; with `--remove`, remove its folder too."""
    state_dir = Path(arguments[0])
    sys.stdin.buffer.read()
    if state_dir.is_dir():
        with owned(state_dir, patient=True):
            Stack(state_dir).down()
    if "--remove" in arguments[1:]:
        shutil.rmtree(state_dir, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
