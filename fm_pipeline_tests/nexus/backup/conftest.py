"""The databases that backups are made of and restored into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from fm_pipeline.db.migrate import migrate
from fm_pipeline_tests.support.clinics import MigrationBench, Origin
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_nexus


@pytest.fixture
def nexus(migrated_once: Origin, bench: MigrationBench) -> MigrationBench:
    """The clinic's Nexus with our schema; nothing is extracted."""
    return bench


@pytest.fixture
def elsewhere(nexus: MigrationBench, postgresql: DisposablePostgreSQL) -> Iterator[MigrationBench]:
    """Another database, where the application has made its tables and nothing else."""
    with empty_nexus(postgresql) as url:
        migrate(url)
        yield nexus.with_settings(nexus_database_url=SecretStr(url))
