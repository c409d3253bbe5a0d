"""Work beside each other, whose results one thread takes."""

from __future__ import annotations

import sys
import threading
import traceback
from contextlib import closing

import pytest

from fm_pipeline.errors import UnforeseenError
from fm_pipeline.images.linking.parallel import CircuitBreaker, in_parallel
from fm_pipeline_tests.support.waiting import wait_until

WORKERS = 2


def _wait_to_hand_over() -> bool:
    """Whether all workers do, and nobody takes anything."""
    frames = sys._current_frames()
    workers = [thread.ident for thread in threading.enumerate() if thread.name.startswith("s3-")]
    stacks = ["".join(traceback.format_stack(frames[ident])) for ident in workers if ident in frames]
    return len(stacks) == WORKERS and all("in wait" in stack for stack in stacks)


def test_an_unexpected_error_is_the_result_of_its_item_alone() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ZeroDivisionError("a text that may hold anything")
        return number

    results = dict(in_parallel(work, range(6), WORKERS))
    error = results.pop(3)
    assert results == {number: number for number in (0, 1, 2, 4, 5)}
    assert isinstance(error, UnforeseenError)
    assert "ZeroDivisionError" in str(error)
    assert "anything" not in str(error)


def test_an_error_that_concerns_every_item_ends_the_work() -> None:
    breaker = CircuitBreaker()

    def work(_: int) -> int:
        raise ZeroDivisionError

    # Closed, since its threads would outlive the test.
    with closing(in_parallel(work, range(100), WORKERS)) as results, pytest.raises(UnforeseenError):  # noqa: PT012
        for _, result in results:
            assert isinstance(result, UnforeseenError)
            breaker.record(result)


@pytest.mark.hard_case(29)
def test_work_waits_for_a_slow_caller_and_no_finished_result_is_lost() -> None:
    begun: list[int] = []
    late: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number

    results = in_parallel(work, range(1000), WORKERS, lambda _, result: late.append(result))
    taken, _ = next(results)
    most = 1 + 2 * WORKERS + WORKERS
    # A worker that was told just now that there is room still stands in its wait.
    wait_until(lambda: len(begun) == 1000 or (len(begun) >= most and _wait_to_hand_over()))
    assert len(begun) == most
    results.close()
    assert sorted([taken, *late]) == sorted(begun)
