"""Programs that try something many times: their options, what they print, and long searches by Hypothesis.

A search has parts with a seed each, so that a later call can continue an interrupted one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

T = TypeVar("T")


def say(line: str) -> None:
    """Print a line at once, also into a file."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def count_and_seed(
    prog: str, description: str | None, *, count: int, of: str = "examples", seed: str = ""
) -> argparse.ArgumentParser:
    """Return a parser with the options `--count` and `--seed`.

    Args:
        count: the default.
        of: of what it is the number.
        seed: what the seed decides.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--count", type=int, default=count, help=f"how many {of}")
    parser.add_argument("--seed", type=int, default=1, help=seed)
    return parser


def search_options(prog: str, description: str | None, *, count: int, of: str = "examples") -> argparse.ArgumentParser:
    """Return a parser with the options `--count`, `--seed` and `--done`; arguments as for `count_and_seed`."""
    parser = count_and_seed(prog, description, count=count, of=of)
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
    """Run `try_out` on the examples; the first failure is shrunk and raised.

    Args:
        part: number of examples with one seed.
        seen: returns the text to print after each part.
    """
    for seed, settings in _parts(options, part, seen):
        hypothesis.seed(seed)(settings(hypothesis.given(examples)(try_out)))()


def search_machines(
    make: Callable[[], RuleBasedStateMachine],
    options: argparse.Namespace,
    *,
    part: int,
    steps: int,
    seen: Callable[[], str],
) -> None:
    """Do the same with state machines.

    Args:
        steps: number of rules that each runs.
    """
    for seed, settings in _parts(options, part, seen):
        run_machines(hypothesis.seed(seed)(partial(make)), hypothesis.settings(settings, stateful_step_count=steps))


def run_machines(make: Callable[[], RuleBasedStateMachine], settings: hypothesis.settings) -> None:
    """Run as many state machines as the settings say."""
    run_state_machine_as_test(make, settings=settings)  # type: ignore[arg-type]  # it takes any callable


def _parts(
    options: argparse.Namespace, part: int, seen: Callable[[], str]
) -> Iterator[tuple[str, hypothesis.settings]]:
    """Yield the seed and the settings of each part that is to be done."""
    part = min(part, options.count)
    for first in range(options.done // part * part, options.count, part):
        yield (
            f"{options.seed}/{first}",
            hypothesis.settings(
                max_examples=part, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
            ),
        )
        say(f"{first + part:,}: {seen()}")
