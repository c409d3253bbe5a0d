"""Fixtures for all tests. Servers start when the first test of a process asks for them, and end with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.bench.postgres import DisposablePostgreSQL, empty_database


@pytest.fixture(scope="session")
def postgresql() -> Iterator[DisposablePostgreSQL]:
    """A PostgreSQL server, one per test process (pytest-xdist worker)."""
    with temporary_stack([DisposablePostgreSQL]) as stack:
        yield stack.service(DisposablePostgreSQL)


@pytest.fixture
def database_url(postgresql: DisposablePostgreSQL) -> Iterator[str]:
    """The URL (`postgresql://...`) of an empty database that this test has for itself."""
    with empty_database(postgresql) as url:
        yield url
