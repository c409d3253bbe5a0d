"""The console while a reimport runs: what a hundred open pages take from it, and how soon they are answered.

And how soon Dagster's graph is seen behind its login.

    python benchmarks/console.py [--only pages|graph] [--json FILE] [--rounds N] [--scale N] [--pages N]

Every round reimports two fresh copies of the same databases, one of them with the pages open; the medians count.
docs/benchmarks.md says more.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from clinic_databases import Databases, LoggingPostgreSQL
from playwright.sync_api import Browser, sync_playwright
from results import Row, options, report

from fm_pipeline.db.migrate import migrate
from fm_pipeline.sandbox.clinic.generate import generate_clinic
from fm_pipeline.sandbox.clinic.nexus.system import ADMIN, SANDBOX_PASSWORD
from fm_pipeline.sandbox.stack.console import ConsoleService
from fm_pipeline.sandbox.stack.dagster import DagsterWebserver
from fm_pipeline.sandbox.stack.stack import temporary_stack

PATH = "/settings/data-management/state"  # the part of the page that asks again and again
IDLE_SECONDS = 20.0  # how long the pages are open before the reimport starts
STEPS = ("staging", "plan", "backup", "reimport")
GRAPH, NODE = "asset-groups", "phase_0_plan"  # the page of the lineage, and a group that it draws
PATIENCE_MILLISECONDS = 120_000
BOUND = 1.3


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the clinic; 1 is the real size")
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
        if refused := sum(status not in {200, 204} for _, _, status in found):
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


class FreeDagster(DagsterWebserver):
    """The web server that `dagster dev` starts; by itself, since the stack must know the process that answers."""

    ready_seconds = 300.0


def graph_row(console: ConsoleService, rounds: int) -> Row:
    """Compare how soon the graph is seen behind the login and without one, in turns.

    Each time the browser has nothing in its cache.

    Args:
        console: running.
    """
    cookies = console.log_in(ADMIN, SANDBOX_PASSWORD).cookies.items()
    ours, against = [], []
    with temporary_stack([FreeDagster]) as stack, _browser() as browser:
        free = f"http://127.0.0.1:{stack.service(FreeDagster).port}"
        for number in range(rounds + 1):
            times = (_seen(browser, f"{console.url}/dagster", dict(cookies)), _seen(browser, free, {}))
            if number:  # the first answers fill the servers' caches
                ours.append(times[0])
                against.append(times[1])
    return Row(
        "Dagster's graph behind the login, against dagster dev (s)", median(ours), median(against), BOUND, "at_most"
    )


def _seen(browser: Browser, url: str, cookies: dict[str, str]) -> float:
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        context.add_cookies([{"name": name, "value": value, "url": url} for name, value in cookies.items()])
        page = context.new_page()
        began = time.perf_counter()
        page.goto(f"{url}/{GRAPH}", wait_until="commit")
        page.get_by_text(NODE).first.wait_for()
        return time.perf_counter() - began


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        program = shutil.which("chromium")  # else the one that `playwright install chromium` keeps
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


if __name__ == "__main__":
    main()
