"""Fixtures for all tests. Servers start when the first test of a process asks for them, and end with it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.settings import ENV_FILE
from fm_pipeline_tests.bench.clinics import MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.bench.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.bench.services import LazyStack


def pytest_configure() -> None:
    """No test reads the settings of whoever works in this checkout; processes that tests start inherit it."""
    os.environ[ENV_FILE] = os.devnull
    # How long an example takes says something of the machine only. The suite tries the same examples each time, so
    # that a failure concerns the change at hand; the scripts of each search go on with others.
    settings.register_profile(
        "fm_pipeline", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("fm_pipeline")
    # A shell lets what it starts in the background ignore Ctrl-C, and all that is started from there inherits it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def stack() -> Iterator[LazyStack]:
    """The sandbox's servers, one set per test process (pytest-xdist worker), each started when asked for."""
    with temporary_stack([]) as running:
        yield LazyStack(running)


@pytest.fixture(scope="session")
def postgresql(stack: LazyStack) -> DisposablePostgreSQL:
    """A PostgreSQL server."""
    return stack.postgresql


@pytest.fixture
def database_url(postgresql: DisposablePostgreSQL) -> Iterator[str]:
    """The URL (`postgresql://...`) of an empty database that this test has for itself."""
    with empty_database(postgresql) as url:
        yield url


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Iterator[MigrationBench]:
    """A small clinic in both systems, nothing extracted yet."""
    with migration_bench(database_url, tmp_path, small_clinic()) as running:
        yield running
