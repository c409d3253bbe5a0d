"""The tests run on one version of PostgreSQL; the other one of the wheel carries a whole reimport and its way back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.preflight.finding import stops
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline.sandbox.stack.postgresql_binaries import POSTGRESQL
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.support.clinics import MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.support.services import memory_folder


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> Iterator[MigrationBench]:
    """The bench on PostgreSQL 16."""
    monkeypatch.setenv(POSTGRESQL, "16")
    with (
        temporary_stack([DisposablePostgreSQL], parent=memory_folder()) as stack,
        empty_database(stack.service(DisposablePostgreSQL)) as url,
        tempfile.TemporaryDirectory() as folder,
        migration_bench(url, Path(folder), small_clinic()) as bench,
    ):
        yield bench


def test_postgresql_16_carries_check_plan_backup_reimport_and_restore(older: MigrationBench) -> None:
    with older.connection() as connection:
        assert connection.server_version // 10_000 == 16
    assert stops(preflight(older.settings)) == []
    before = older.digests()
    older.extract_and_stage().reimport()
    assert older.differences(small_clinic().expected()) == []
    folder = list_backups(older.settings)[0].folder
    shown = restore(older.settings, folder, confirm="", dry_run=True)
    restore(older.settings, folder, confirm=shown.confirmation)
    assert older.digests() == before
