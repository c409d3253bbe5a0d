"""A headless Chromium: the one that `Program.find` names, else the one that `playwright install chromium` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from fm_pipeline.sandbox.programs.programs import PROGRAMS

# It runs as root in containers, and it talks to nobody but our own server.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser | None]:
    """A running browser; None where there is none to start."""
    with ExitStack() as open_until_the_end:
        with (
            pytest.MonkeyPatch.context() as environment
        ):  # of the driver, a Node that needs a library of these packages
            if libraries := PROGRAMS["chromium"].libraries:
                environment.setenv("LD_LIBRARY_PATH", libraries)
            playwright = open_until_the_end.enter_context(sync_playwright())
        program = _program(playwright)
        if program is None:
            yield None
            return
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def _program(playwright: Playwright) -> str | None:
    own = playwright.chromium.executable_path
    return PROGRAMS["chromium"].find() or (own if Path(own).exists() else None)
