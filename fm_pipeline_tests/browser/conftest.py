"""One Chromium and one Dagster, with a small clinic behind it, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from fm_pipeline.sandbox.stack.dagster import DagsterWebserver
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.browser.chromium import chromium
from fm_pipeline_tests.support.clinics import MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database

LIMIT_MILLISECONDS = 180_000
# Starts runs itself, so that one server is enough; the demo's test has the queue and the daemon.
INSTANCE = """
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""


class LaunchingWebserver(DagsterWebserver):
    """A web server that needs no daemon."""

    def instance(self) -> str:
        return INSTANCE


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as running:
        if running is None:
            pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
        yield running


@pytest.fixture(scope="module")
def clinic(
    browser: Browser, postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MigrationBench]:
    """A small clinic in both systems, nothing extracted yet."""
    with (
        empty_database(postgresql) as url,
        migration_bench(url, tmp_path_factory.mktemp("clinic"), small_clinic()) as bench,
    ):
        yield bench


@pytest.fixture(scope="module")
def webserver(clinic: MigrationBench) -> Iterator[LaunchingWebserver]:
    """A web server with the project's own definitions."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clinic.environment().items():
            patch.setenv(name, value)
        with temporary_stack([LaunchingWebserver]) as stack:
            yield stack.service(LaunchingWebserver)


@pytest.fixture(scope="module")
def dagster_url(webserver: LaunchingWebserver) -> str:
    """Its address."""
    return f"http://127.0.0.1:{webserver.port}"


@pytest.fixture
def page(browser: Browser, dagster_url: str) -> Iterator[Page]:
    """A new page; its addresses are relative to Dagster's."""
    page = browser.new_page(base_url=dagster_url, viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(LIMIT_MILLISECONDS)
    try:
        yield page
    finally:
        page.close()
