"""Any files at any patients: those that are listed as left without a patient are those that the plan would archive."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from fm_pipeline_tests.nexus.reimport.random_gone_files import examples, random_bench
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL


def test_the_files_that_are_listed_before_are_those_that_go_to_the_archive(
    postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with random_bench(postgresql, tmp_path_factory.mktemp("random")) as bench:
        settings(max_examples=6, database=None, deadline=None)(given(examples())(bench.try_out))()
        assert bench.seen["archived"]
        assert bench.seen["relinked"]
