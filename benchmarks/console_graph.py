"""How soon Dagster's graph is seen behind the console's login, against `dagster dev`, which asks nobody who he is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from playwright.sync_api import Browser, sync_playwright
from results import Row

from fm_pipeline.sandbox.clinic.nexus.system import ADMIN, SANDBOX_PASSWORD
from fm_pipeline.sandbox.stack.console import ConsoleService
from fm_pipeline.sandbox.stack.dagster import DagsterWebserver
from fm_pipeline.sandbox.stack.stack import temporary_stack

GRAPH, NODE = "asset-groups", "phase_0_plan"  # the page of the lineage, and a group that it draws
PATIENCE_MILLISECONDS = 120_000
BOUND = 1.3


class FreeDagster(DagsterWebserver):
    """The web server that `dagster dev` starts; by itself, since the stack must know the process that answers."""

    ready_seconds = 300.0


def graph_row(console: ConsoleService, rounds: int) -> Row:
    """Return the comparison: each time a browser that has nothing in its cache, in turns.

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
