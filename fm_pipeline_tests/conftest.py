"""Fixtures for all tests. Servers start when the first test of a process asks for them, and end with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fm_pipeline.db.migrate import migrate
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.settings import ENV_FILE
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import (
    DATABASE,
    FILEMAKER,
    MigrationBench,
    Origin,
    copied_bench,
    derived,
    migration_bench,
    small_clinic,
)
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.support.services import LazyStack, memory_folder

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
    # Images of containers often set this. The tests start hundreds of processes, and each would compile Dagster anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
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
    with temporary_stack([], parent=memory_folder()) as running:
        yield LazyStack(running)


@pytest.fixture(scope="session")
def postgresql(stack: LazyStack) -> DisposablePostgreSQL:
    """A PostgreSQL server."""
    return stack.postgresql


@pytest.fixture(scope="session")
def migrated_database(postgresql: DisposablePostgreSQL) -> Iterator[str]:
    """The name of a database that holds nothing but the pipeline's empty tables."""
    with empty_database(postgresql) as url:
        migrate(url)
        yield url.rsplit("/", 1)[1]


@pytest.fixture
def migrated_url(postgresql: DisposablePostgreSQL, migrated_database: str) -> Iterator[str]:
    """The URL of a copy of it that this test has for itself."""
    with empty_database(postgresql, migrated_database) as url:
        yield url


@pytest.fixture(scope="session")
def filled_clinic(postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """A small clinic in both systems, nothing extracted yet. Tests have copies of it and of the next three."""
    folder = tmp_path_factory.mktemp("filled")
    with empty_database(postgresql) as url:
        with migration_bench(url, folder, small_clinic()):
            pass
        yield Origin(url.rsplit("/", 1)[1], folder / FILEMAKER)


@pytest.fixture(scope="session")
def migrated_clinic(
    postgresql: DisposablePostgreSQL, filled_clinic: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origin]:
    """The same clinic beside the pipeline's own empty tables."""
    folder = tmp_path_factory.mktemp("migrated")
    with derived(postgresql, filled_clinic, folder, lambda bench: migrate(bench.database_url)) as it:
        yield it


@pytest.fixture(scope="session")
def staged_clinic(
    postgresql: DisposablePostgreSQL, migrated_clinic: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origin]:
    """The same clinic, extracted and staged."""
    folder = tmp_path_factory.mktemp("staged")
    with derived(postgresql, migrated_clinic, folder, MigrationBench.extract_and_stage) as it:
        yield it


@pytest.fixture(scope="session")
def reimported_clinic(
    postgresql: DisposablePostgreSQL, staged_clinic: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origin]:
    """The same clinic after its first reimport. The folder of a copy does not hold the backup."""
    folder = tmp_path_factory.mktemp("reimported")
    with derived(postgresql, staged_clinic, folder, MigrationBench.reimport) as it:
        yield it


@pytest.fixture
def migrated_once(migrated_clinic: Origin) -> Origin:
    """Asked for beside `bench`, it lets the pipeline's tables be there already."""
    return migrated_clinic


@pytest.fixture
def staged_once(staged_clinic: Origin) -> Origin:
    """Asked for beside `bench`, it lets the clinic be extracted and staged already, once for all tests of a process."""
    return staged_clinic


@pytest.fixture
def reimported_once(reimported_clinic: Origin) -> Origin:
    """Asked for beside `bench`, it lets the first reimport have been, once for all tests of a process."""
    return reimported_clinic


@pytest.fixture
def origin(request: pytest.FixtureRequest) -> Origin:
    """What `bench` is a copy of."""
    names = ("gone_once", "reimported_once", "staged_once", "migrated_once")
    beside = [name for name in names if name in request.fixturenames]
    origin: Origin = request.getfixturevalue(beside[0] if beside else "filled_clinic")
    return origin


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
def bench(postgresql: DisposablePostgreSQL, tmp_path: Path, origin: Origin) -> Iterator[MigrationBench]:
    """A small clinic in both systems, for this test alone; our tables are not there unless it asks for an origin."""
    with copied_bench(postgresql, origin, tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def staged(
    postgresql: DisposablePostgreSQL, staged_clinic: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MigrationBench]:
    """One clinic, staged, for all that is refused: a plan leaves it as it was."""
    with copied_bench(postgresql, staged_clinic, tmp_path_factory.mktemp("unasked")) as running:
        yield running


@pytest.fixture(scope="session")
def gone_clinic(
    postgresql: DisposablePostgreSQL, staged_clinic: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Origin, str]]:
    """The staged clinic after a patient was deleted in FileMaker, staged again; and the patient's id in Nexus."""
    ids: list[str] = []

    def delete(bench: MigrationBench) -> None:
        ids.append(_delete_patient(bench))
        bench.extract_and_stage()

    with derived(postgresql, staged_clinic, tmp_path_factory.mktemp("gone"), delete) as origin:
        yield origin, ids[0]


@pytest.fixture
def gone_once(gone_clinic: tuple[Origin, str]) -> Origin:
    """What `bench` is a copy of beside `gone`."""
    return gone_clinic[0]


@pytest.fixture
def gone(gone_once: Origin, gone_clinic: tuple[Origin, str]) -> str:
    """Nexus id of a patient deleted in FileMaker with everything that belongs to it; `bench` was staged after that."""
    return gone_clinic[1]


def _delete_patient(bench: MigrationBench) -> str:
    ((nexus_id, key),) = bench.execute(WITHOUT_FILES)
    for record_id, layout in bench.execute(
        "SELECT record_id, layout FROM fm_pipeline.source_records JOIN fm_pipeline.source_extractions USING (entity)"
        " WHERE patient_key = %s OR (entity = 'patient' AND filemaker_key = %s)",
        key,
        key,
    ):
        bench.store.delete(DATABASE, layout.removeprefix("API_"), record_id)
    return str(nexus_id)
