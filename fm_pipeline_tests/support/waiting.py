"""Waits for a condition in a test, with a limit; tests never wait for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE_SECONDS = 0.02  # the least between two questions
PAUSE_PER_QUESTION = 4  # times what a question took: one that opens a connection costs a fifth of a processor at most
LONGEST_PAUSE_SECONDS = 0.1


def wait_until(condition: Callable[[], bool], limit_seconds: float = 60) -> None:
    """Go on when the condition holds. What is waited for needs the processor, so asking leaves it free.

    Raises:
        AssertionError: it did not hold within the limit.
    """
    begun = time.monotonic()
    end = begun + limit_seconds
    while not condition():
        now = time.monotonic()
        assert now < end, f"not so within {limit_seconds} seconds: {condition}"
        time.sleep(max(PAUSE_SECONDS, min(PAUSE_PER_QUESTION * (now - begun), LONGEST_PAUSE_SECONDS)))
        begun = time.monotonic()
