"""The console while a reimport runs: what a hundred open pages take from it, and how soon they are answered.

And how soon Dagster's graph is seen behind its login.

    python benchmarks/console.py [--only pages|graph] [--json FILE] [--rounds N] [--scale N] [--pages N]

Every round reimports two fresh copies of the same databases, one of them with the pages open; the medians count.
docs/benchmarks.md says more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from clinic_databases import Databases, LoggingPostgreSQL
from console_graph import graph_row
from results import Row, report

from fm_pipeline.db.migrate import migrate
from fm_pipeline.sandbox.clinic.generate import generate_clinic
from fm_pipeline.sandbox.clinic.nexus.system import ADMIN, SANDBOX_PASSWORD
from fm_pipeline.sandbox.stack.console import ConsoleService
from fm_pipeline.sandbox.stack.stack import temporary_stack

PATH = "/settings/data-management/state"  # the part of the page that asks again and again
IDLE_SECONDS = 20.0  # how long the pages are open before the reimport starts
STEPS = ("staging", "plan", "backup", "reimport")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default: 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the clinic; 1 is that of the seeds")
    parser.add_argument("--pages", type=int, default=100, help="how many pages are open (default: 100)")
    parser.add_argument("--only", choices=["pages", "graph"], help="measure only this")
    given = parser.parse_args()
    os.environ["FM_PIPELINE_ENV_FILE"] = os.devnull
    with temporary_stack([LoggingPostgreSQL]) as stack, TemporaryDirectory() as folder:
        databases = Databases(stack.service(LoggingPostgreSQL))
        databases.make("clinic", generate_clinic(scale=given.scale))
        measured = Measurements(databases, Path(folder), given.pages)
        rows = []
        if given.only != "graph":
            for _ in range(given.rounds):
                measured.take()
            rows += measured.rows()
        if given.only != "pages":
            rows.append(measured.graph(given.rounds))
        report("console", rows, given.json)


class Measurements:
    """What was measured."""

    def __init__(self, databases: Databases, folder: Path, pages: int) -> None:
        self._databases, self._folder, self._pages = databases, folder, pages
        self._alone: list[float] = []
        self._beside: list[float] = []
        self._idle: list[float] = []
        self._busy: list[float] = []

    def take(self) -> None:
        """One round."""
        with self._served() as (url, _):
            self._alone.append(self._reimport(url))
        with self._served() as (url, console), self._open_pages(console) as answers:
            time.sleep(IDLE_SECONDS)
            began = time.time()
            self._beside.append(self._reimport(url))
            ended = time.time()
            found = [tuple(map(float, line.split())) for line in answers.read_text("ascii").splitlines()]
        if refused := sum(status != 200 for _, _, status in found):
            sys.exit(f"{refused} of {len(found)} requests were refused: there is nothing to measure.")
        first = began - IDLE_SECONDS / 2  # the first answers fill caches
        self._idle += [took for at, took, _ in found if first < at < began]
        self._busy += [took for at, took, _ in found if began < at < ended]

    def graph(self, rounds: int) -> Row:
        """How soon Dagster's graph is seen."""
        with self._served() as (_, console):
            return graph_row(console, rounds)

    def rows(self) -> list[Row]:
        """What it all means."""
        pages = f"{self._pages} open pages"
        beside, alone = median(self._beside), median(self._alone)
        return [
            Row(f"reimport beside {pages}, against alone (s)", beside, alone, 1.1, "at_most"),
            Row(f"answer to {pages} beside a reimport (s)", median(self._busy), median(self._idle), 2, "at_most"),
        ]

    @contextmanager
    def _served(self) -> Iterator[tuple[str, ConsoleService]]:
        """Serve a copy of the clinic; give the URL of its database and the console."""
        with self._databases.copy("clinic") as url, TemporaryDirectory(dir=self._folder) as state_dir:
            migrate(url)
            os.environ |= {
                "NEXUS_DATABASE_URL": url,
                "STATE_DIR": state_dir,
                "FILEMAKER_URL": "http://127.0.0.1:1",  # FileMaker is not asked for anything
                **dict.fromkeys(("FILEMAKER_DATABASE", "FILEMAKER_USERNAME", "FILEMAKER_PASSWORD"), "none"),
            }
            with temporary_stack([ConsoleService]) as stack:
                yield url, stack.service(ConsoleService)

    @contextmanager
    def _open_pages(self, console: ConsoleService) -> Iterator[Path]:
        """Keep the pages open; give the file of their answers."""
        session = console.log_in(ADMIN, SANDBOX_PASSWORD)
        cookie = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
        answers = self._folder / "answers"
        script = str(Path(__file__).with_name("open_pages.py"))
        command = [sys.executable, script, str(console.port), cookie, PATH, str(self._pages), str(answers)]
        with subprocess.Popen(command) as pages:  # noqa: S603
            try:
                yield answers
            finally:
                pages.terminate()

    def _reimport(self, url: str) -> float:
        """Return the seconds of one reimport in a process of its own."""
        with TemporaryDirectory(dir=self._folder) as state_dir:
            command = [sys.executable, str(Path(__file__).with_name("one_reimport.py")), url, state_dir, "reimport"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
        taken = json.loads(done.stdout)
        return float(sum(taken[step] for step in STEPS))


if __name__ == "__main__":
    main()
