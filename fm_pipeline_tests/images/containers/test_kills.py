"""Three of the thirty kills of `scripts/kills-waterfall`."""

from __future__ import annotations

import random

import pytest

from fm_pipeline_tests.images.containers.clinic import ImageClinic
from fm_pipeline_tests.images.containers.kills import kill_rounds


@pytest.mark.hard_case(30)
def test_killed_at_random_moments_nothing_is_there_twice_or_lost_or_marked_without_its_file(
    clinic: ImageClinic,
) -> None:
    lines: list[str] = []
    ledger = kill_rounds(clinic, 3, random.Random(5), lines.append)  # noqa: S311  # moments, not secrets
    assert ledger.killed + ledger.ended_before == 3
    assert len(lines) == 3
