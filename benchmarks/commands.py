"""How long a command takes that has nothing to do: help, wrong usage, and errors for which no server is asked.

    python benchmarks/commands.py --json rows.json

Each command is compared with a Python that starts and ends. They take turns in one run.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import NamedTuple

from results import Row, options, report

ROUNDS = 15
NOTHING = ("-c", "pass")
COMMAND = ("-m", "fm_pipeline")
# What is typed, and how many times the time of a bare Python it may take. The last three import what reads settings
# before they find that no setting is there.
TYPED = {
    "--help": 8,
    "--hlep": 8,
    "reimprot": 8,
    "status --jsno": 8,
    "dicom import --help": 8,
    "backup --list --prune": 8,
    "status": 25,
    "plan": 25,
    "dicom import": 25,
}


class Timed(NamedTuple):
    """Seconds on the clock, and of CPU time with that of the system."""

    clock: float
    processor: float


def main() -> None:
    """Run it, print the rows, and write them to a file if one is wanted."""
    parser = options(__doc__, rounds=ROUNDS)
    parser.add_argument("--only", choices=TYPED, help="measure this one alone")
    given = parser.parse_args()
    ways = {"": NOTHING} | {typed: (*COMMAND, *typed.split()) for typed in ([given.only] if given.only else TYPED)}
    timed: dict[str, list[Timed]] = {typed: [] for typed in ways}
    with tempfile.TemporaryDirectory() as folder:  # without a .env
        for _ in range(given.rounds):
            for typed, way in ways.items():
                timed[typed].append(run(way, folder))
    bare = timed.pop("")
    rows = [
        Row(
            f"fm-pipeline {typed}, {kind} (s)",
            *(median(getattr(each, kind) for each in of) for of in (ours, bare)),
            TYPED[typed],
            "at_most",
        )
        for typed, ours in timed.items()
        for kind in Timed._fields
    ]
    report("commands", rows, given.json)


def run(arguments: tuple[str, ...], folder: str) -> Timed:
    """Run Python with these arguments in an empty folder and without any setting."""
    environment = {"PATH": os.environ["PATH"], "HOME": folder}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=False, capture_output=True)  # noqa: S603
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in {0, 1, 2} or b"Traceback" in done.stderr:
        sys.exit(f"{arguments}: {done.stderr.decode()[-2000:]}")
    return Timed(clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    main()
