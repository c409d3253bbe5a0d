"""Some nights at random; `scripts/nights` goes on with others."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings

from fm_pipeline_tests.sequence.nights import nights, two_weeks
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL


def test_each_morning_is_as_expected(
    postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with nights(postgresql, tmp_path_factory.mktemp("nights")) as tried:
        settings(max_examples=2, phases=[Phase.generate], database=None)(given(two_weeks(4))(tried.try_out))()
        assert {"waits", "nothing_new", "conflicts", "not staged"} <= tried.seen.keys()
