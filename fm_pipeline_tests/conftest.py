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
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.support.services import LazyStack

# A patient that FileMaker has, without files in Nexus, so that it may go.
WITHOUT_FILES = """
SELECT p.id, c.filemaker_key FROM patients p JOIN fm_pipeline.crosswalk c ON c.nexus_id = p.id AND c.entity = 'patient'
JOIN fm_pipeline.source_records s ON s.entity = 'patient' AND s.filemaker_key = c.filemaker_key
WHERE p.id NOT IN (SELECT object_id FROM documents_document WHERE object_id IS NOT NULL)
  AND p.id NOT IN (SELECT object_id FROM images_batch)
  AND p.id NOT IN (SELECT patient_id FROM xero_invoices WHERE patient_id IS NOT NULL)
ORDER BY p.id LIMIT 1
"""


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
def s3(stack: LazyStack) -> BucketBench:
    """An empty bucket."""
    return BucketBench(stack.s3)


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Iterator[MigrationBench]:
    """A small clinic in both systems, nothing extracted yet."""
    with migration_bench(database_url, tmp_path, small_clinic()) as running:
        yield running


@pytest.fixture(scope="session")
def staged(postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MigrationBench]:
    """One clinic, staged, for all that is refused: a plan leaves it as it was."""
    with (
        empty_database(postgresql) as url,
        migration_bench(url, tmp_path_factory.mktemp("unasked"), small_clinic()) as running,
    ):
        yield running.extract_and_stage()


@pytest.fixture
def gone(bench: MigrationBench) -> str:
    """Nexus id of a patient that has just been deleted in FileMaker, with everything that belongs to it."""
    bench.extract_and_stage()
    ((nexus_id, key),) = bench.execute(WITHOUT_FILES)
    for record_id, layout in bench.execute(
        "SELECT record_id, layout FROM fm_pipeline.source_records JOIN fm_pipeline.source_extractions USING (entity)"
        " WHERE patient_key = %s OR (entity = 'patient' AND filemaker_key = %s)",
        key,
        key,
    ):
        bench.store.delete(DATABASE, layout.removeprefix("API_"), record_id)
    return str(nexus_id)
