"""A clinic for the tests of syncs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fm_pipeline_tests.support.clinics import MigrationBench, Origin, copied_bench, derived
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL


@pytest.fixture(scope="session")
def synced_clinic(
    postgresql: DisposablePostgreSQL, staged_clinic: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origin]:
    """The clinic after a reimport that stores what a sync compares with."""
    folder = tmp_path_factory.mktemp("synced")
    with derived(postgresql, staged_clinic, folder, lambda b: b.with_settings(filemaker_sync=True).reimport()) as it:
        yield it


@pytest.fixture
def synced(postgresql: DisposablePostgreSQL, synced_clinic: Origin, tmp_path: Path) -> Iterator[MigrationBench]:
    """A copy of it, in which a sync may change a hundred rows without a person."""
    with copied_bench(postgresql, synced_clinic, tmp_path) as bench:
        yield bench.with_settings(filemaker_sync=True, filemaker_sync_changes=100)
