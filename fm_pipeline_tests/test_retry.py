"""The one loop that repeats an action after a passing failure."""

from __future__ import annotations

from itertools import islice

import pytest

from fm_pipeline.retry import exponential_pauses, retry


class _Flaky:
    """Fails so many times, then returns the number of the attempt."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.attempts = 0

    def __call__(self) -> int:
        self.attempts += 1
        if self.attempts <= self.failures:
            raise ConnectionError(self.attempts)
        return self.attempts


def _is_connection_error(error: Exception) -> bool:
    return isinstance(error, ConnectionError)


def test_pauses_double_up_to_the_longest() -> None:
    assert list(islice(exponential_pauses(1, 5), 5)) == [1, 2, 4, 5, 5]


def test_a_transient_failure_is_repeated_after_its_pause() -> None:
    slept: list[float] = []
    announced: list[tuple[int, float]] = []
    result = retry(
        _Flaky(2),
        is_transient=_is_connection_error,
        pauses=exponential_pauses(1, 10),
        before_retry=lambda _, attempt, pause: announced.append((attempt, pause)),
        sleep=slept.append,
    )
    assert (result, slept, announced) == (3, [1, 2], [(2, 1), (3, 2)])


def test_the_last_error_is_raised_when_there_are_no_more_pauses() -> None:
    action = _Flaky(9)
    with pytest.raises(ConnectionError, match="3"):
        retry(action, is_transient=_is_connection_error, pauses=[0, 0], sleep=lambda _: None)
    assert action.attempts == 3


def test_an_error_that_is_not_transient_is_raised_at_once() -> None:
    action = _Flaky(9)
    with pytest.raises(ConnectionError, match="1"):
        retry(action, is_transient=lambda _: False, pauses=exponential_pauses(1, 1))
    assert action.attempts == 1


def test_no_attempt_begins_after_the_timeout() -> None:
    action = _Flaky(9)
    with pytest.raises(ConnectionError, match="1"):
        retry(action, is_transient=_is_connection_error, pauses=exponential_pauses(0, 0), timeout_seconds=-1)
    assert action.attempts == 1
