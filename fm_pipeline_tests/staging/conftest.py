"""A Nexus database with a few names to look up, and raw records put straight into the staging schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline_tests.filemaker.conftest import clinic, served
from fm_pipeline_tests.staging.bench import Staging
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
