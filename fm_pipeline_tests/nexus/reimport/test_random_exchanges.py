"""Any constraints on the patients, any exchange of values: the staged rows are loaded, and nothing else is changed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from fm_pipeline_tests.nexus.reimport.random_exchanges import examples, random_bench
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL


def test_patients_who_exchange_values_are_loaded_under_any_constraints(
    postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with random_bench(postgresql, tmp_path_factory.mktemp("random")) as bench:
        settings(max_examples=25, database=None)(given(examples())(bench.try_out))()
