"""Waits for a condition, with a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], limit_seconds: float, *, every_seconds: float = 0.02) -> bool:
    """Call `condition` until it returns True or the limit has passed.

    Args:
        condition: called at least once, also if the limit is 0.
        limit_seconds: after this time it is not called again.
        every_seconds: pause between two calls.

    Returns:
        Whether the condition held in time.
    """
    end = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(every_seconds)
    return True
