"""The comparison with an earlier commit: its verdict. Running it takes minutes, so no test does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("now", "holds"),
    [(1.0, True), (1.05, True), (1.06, True), (1.1, True), (1.11, False)],
    ids=["as fast", "within the bound", "within what it takes itself", "as its slowest round", "slower"],
)
def test_a_row_holds_within_the_bound_or_within_the_rounds_of_the_earlier_commit(now: float, holds: bool) -> None:
    code = f"import compare; print(compare.Compared('images', 'row', 1.0, {now}, 1.1).holds)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=BENCHMARKS, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(holds)


def test_a_commit_that_is_not_there_is_an_error() -> None:
    command = [sys.executable, str(BENCHMARKS / "compare.py"), "no-such-commit"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 1
    assert "no-such-commit" in done.stderr
