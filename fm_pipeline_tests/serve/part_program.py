"""Programs that behave as parts do: `python -m fm_pipeline_tests.serve.part_program BEHAVIOUR`."""

from __future__ import annotations

import signal
import subprocess
import sys


def main(behaviour: str) -> None:
    """Live, die or be deaf."""
    if behaviour == "dies":
        sys.exit(3)
    if behaviour == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "has a run":
        # As multiprocessing does it: the last word is how a run's process is told from others.
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", "--multiprocessing-fork"])
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
