"""Waiting for a condition, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], limit_seconds: float, *, every_seconds: float = 0.02) -> bool:
    """Ask `condition` until it holds or the limit has passed.

    Args:
        condition: asked at least once, also when the limit is 0.
        limit_seconds: how long to go on asking.
        every_seconds: pause between two questions.

    Returns:
        True if the condition held, False if the time ran out.
    """
    end = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(every_seconds)
    return True
