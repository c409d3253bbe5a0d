"""Imports in chunks by Dagster and Celery, with kills, and one that is terminated from the console.

`python -m fm_pipeline_tests.kills.hosts --files 2000 --count 6 --rounds 1 --seed 1`: exit code 0 if all of it held, 2
if Redis or Orthanc is missing. The files of `deploy/celery` are used as they are.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from fm_pipeline.sandbox.programs.programs import PROGRAMS
from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.kills.host_imports import FOLDERS, Trial
from fm_pipeline_tests.kills.host_processes import hosts
from fm_pipeline_tests.support.orthanc import OwnOrthanc, own_orthanc
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL
from fm_pipeline_tests.support.searching import say
from fm_pipeline_tests.support.services import memory_folder


def main() -> int:
    """Carry the imports out, and print what came of them."""
    parser = argparse.ArgumentParser(prog="kills-hosts", description=__doc__)
    parser.add_argument("--files", type=int, default=2000, help="how many files an import has")
    parser.add_argument("--count", type=int, default=6, help="how many kills an import has")
    parser.add_argument("--rounds", type=int, default=1, help="how many imports, after the one that is terminated")
    parser.add_argument("--seed", type=int, default=1, help="decides what is killed, and when")
    parser.add_argument("--keep", type=Path, help="folder for homes and logs, which are kept")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is stopped
    if not OwnOrthanc.available() or not PROGRAMS["redis"].find():
        parser.exit(2, "Orthanc or redis-server is not installed, so nothing was tried.\n")
    files = given.files // FOLDERS * FOLDERS
    broken: list[str] = []
    with ExitStack() as opened:
        folder = given.keep or Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="kills-hosts-")))
        folder.mkdir(exist_ok=True)
        stack = opened.enter_context(temporary_stack([DisposablePostgreSQL, S3Service], parent=memory_folder()))
        orthanc = opened.enter_context(own_orthanc())
        of, importing = opened.enter_context(hosts(folder, stack, orthanc))
        trial = Trial(of, importing, stack, orthanc)
        for number in range(given.rounds + 1):
            seed, began = given.seed + number, time.monotonic()
            rng = random.Random(seed)  # noqa: S311  # moments, not secrets
            # The run that is terminated must not be over before.
            job_id = trial.prepare(number, files) if number else trial.prepare(number, files, chunks=2)
            found = [] if number else [*trial.terminated(job_id)]
            found += trial.killed(job_id, files, given.count if number else 0, rng)
            found += trial.leaks()
            for line in found:
                say(f"BROKEN, seed {seed}: {line}")
            broken += found
            say(f"Import {number + 1} of {given.rounds + 1}, seed {seed}: {time.monotonic() - began:.0f} s.")
    say("Something did not hold." if broken else "All of it held.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
