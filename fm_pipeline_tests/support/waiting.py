"""Waiting in a test: for a condition, or for a function in a thread, with a limit; never for a fixed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

PAUSE_SECONDS = 0.02  # the least between two questions
PAUSE_PER_QUESTION = 4  # times what a question took: one that opens a connection costs a fifth of a processor at most
LONGEST_PAUSE_SECONDS = 0.1
LIMIT_SECONDS = 60


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


class InThread(threading.Thread):
    """Runs a function beside the test and keeps what it returned or raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self.result: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            self.error = error

    def outcome(self) -> Any:
        """Wait for the end; raise what it raised."""
        self.join(LIMIT_SECONDS)
        assert not self.is_alive()
        if self.error:
            raise self.error
        return self.result
