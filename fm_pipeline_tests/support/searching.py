"""Long searches by Hypothesis, in parts that have a seed each: one can go on where an earlier call was ended."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TypeVar

import hypothesis
from hypothesis import strategies as st

T = TypeVar("T")


def search_options(prog: str, description: str, *, count: int) -> argparse.ArgumentParser:
    """`--count`, `--seed` and `--done`.

    Args:
        count: examples, if nobody says how many.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--count", type=int, default=count, help="how many examples")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--done", type=int, default=0, help="how many an earlier call has done")
    return parser


def search(
    examples: st.SearchStrategy[T],
    try_out: Callable[[T], None],
    options: argparse.Namespace,
    *,
    part: int,
    seen: Callable[[], str],
) -> None:
    """Try the examples out; the first one that fails is made smaller and raised.

    Args:
        part: examples with one seed.
        seen: what to say after each part, beside the number.
    """
    part = min(part, options.count)
    for first in range(options.done // part * part, options.count, part):
        settings = hypothesis.settings(
            max_examples=part, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        hypothesis.seed(f"{options.seed}/{first}")(settings(hypothesis.given(examples)(try_out)))()
        sys.stdout.write(f"{first + part:,}: {seen()}\n")
        sys.stdout.flush()
