"""Any set of constraints, any changes after the backup: a restore brings every row back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from fm_pipeline_tests.nexus.random_constraints import examples, random_bench
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL


def test_a_database_with_any_constraints_is_restored_row_by_row(
    postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with random_bench(postgresql, tmp_path_factory.mktemp("random")) as bench:
        settings(max_examples=3, database=None)(given(examples())(bench.try_out))()
