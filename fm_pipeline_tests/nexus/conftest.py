"""One staged clinic for everything that a plan refuses, since a plan leaves it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fm_pipeline_tests.bench.clinics import MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.bench.postgres import DisposablePostgreSQL, empty_database


@pytest.fixture(scope="session")
def staged(postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MigrationBench]:
    """One clinic, staged, for all that is refused: a plan leaves it as it was."""
    with (
        empty_database(postgresql) as url,
        migration_bench(url, tmp_path_factory.mktemp("unasked"), small_clinic()) as running,
    ):
        yield running.extract_and_stage()
