"""A Nexus database with a few names to look up, and raw records put straight into the staging schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline_tests.filemaker.conftest import clinic, served
from fm_pipeline_tests.sequence.nights import Nights, nights
from fm_pipeline_tests.sequence.nights_clinic import Clinic
from fm_pipeline_tests.sequence.nights_systems import LAYOUTS
from fm_pipeline_tests.staging.bench import Staging
from fm_pipeline_tests.staging.changing import OLD, read
from fm_pipeline_tests.support.clinics import DATABASE
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database

__all__ = ["clinic", "served", "staging"]  # the first two for the tests of the extraction


@pytest.fixture(scope="session")
def prepared(postgresql: DisposablePostgreSQL) -> Iterator[str]:
    """The name of the database that every test of staging has a copy of, which takes a third of making it."""
    with empty_database(postgresql) as url:
        migrate(url)
        with connect(url) as connection:
            create_nexus(connection)
            Staging(connection).add_names()
        yield url.rsplit("/", 1)[1]


@pytest.fixture
def staging_url(postgresql: DisposablePostgreSQL, prepared: str) -> Iterator[str]:
    """The URL of the database of `staging`."""
    with empty_database(postgresql, prepared) as url:
        yield url


@pytest.fixture
def staging(staging_url: str) -> Iterator[Staging]:
    """An empty staging schema beside a Nexus with one clinic, clinician, appointment type and funding source."""
    with connect(staging_url) as connection:
        yield Staging(connection)


@pytest.fixture(scope="module")
def nights_clinics(postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """Makes a clinic for each test."""
    with nights(postgresql, tmp_path_factory.mktemp("changes")) as made:
        yield made


@pytest.fixture
def clinic_read_before(nights_clinics: Nights) -> Iterator[Clinic]:
    """A clinic whose records were edited long ago, and read whole at RUN_TIME."""
    with nights_clinics.clinic() as made:
        for row in made.model.rows.values():
            made.bench.store.edit(DATABASE, LAYOUTS[row.kind], row.record_id, {"modified": OLD})
        read(made, 0)
        yield made
