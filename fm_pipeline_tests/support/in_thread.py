"""A function that runs beside a test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

LIMIT_SECONDS = 60


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
