"""Repeat an action that failed for a passing reason, after a pause.

Used where one call is repeated as a whole. A loop that changes what it does from attempt to attempt (a smaller page,
another session) stays where it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def exponential_pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds that double from one pause to the next, up to the longest; without end."""
    pause = first
    while True:
        yield min(pause, longest)
        pause *= 2


def retry(
    action: Callable[[], T],
    *,
    is_transient: Callable[[Exception], bool],
    pauses: Iterable[float],
    timeout_seconds: float | None = None,
    before_retry: Callable[[Exception, int, float], object] = lambda *_: None,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """Return the result of an action, after as many attempts as are allowed.

    Args:
        action: must come to the same if it is done twice.
        is_transient: whether another attempt makes sense after this error.
        pauses: seconds before each further attempt; when there are no more, the last error is raised.
        timeout_seconds: after this time no further attempt is begun.
        before_retry: called with the error, the number of the next attempt, and the seconds until then.

    Raises:
        Exception: what the last attempt has raised.
    """
    started = time.monotonic()
    remaining = iter(pauses)
    attempt = 1
    while True:
        try:
            return action()
        except Exception as error:
            timed_out = timeout_seconds is not None and time.monotonic() - started > timeout_seconds
            if timed_out or not is_transient(error) or (pause := next(remaining, None)) is None:
                raise
            attempt += 1
            before_retry(error, attempt, pause)
        sleep(pause)
