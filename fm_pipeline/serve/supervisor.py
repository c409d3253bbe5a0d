"""Starts the parts, starts again what dies, and stops them in the reverse order."""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from fm_pipeline.serve.parts import ServicePart

LOOK_SECONDS = 0.5
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a part that dies again and again is started again
STOP_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Supervisor:
    """Runs until SIGTERM or Ctrl-C.

    Args:
        parts: in the order in which they start.
        environment: of all of them.
    """

    def __init__(self, parts: Sequence[ServicePart], environment: Mapping[str, str]) -> None:
        self._parts = parts
        self._environment = dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._pauses: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._stop = threading.Event()

    def run(self) -> None:
        """Start everything, watch it, stop it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        try:
            for part in self._parts:
                self._start(part)
            while not self._stop.wait(LOOK_SECONDS):
                self._look()
        finally:
            self._end()

    def _asked_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _start(self, part: ServicePart) -> None:
        self._running[part.name] = subprocess.Popen(part.command, env=self._environment, stdin=subprocess.DEVNULL)  # noqa: S603
        _log.info("The %s runs as process %d.", part.name, self._running[part.name].pid)

    def _look(self) -> None:
        for part in self._parts:
            code = self._running[part.name].poll()
            if code is None:
                continue
            if part.name not in self._due:
                pause = self._pauses[part.name] = min(self._pauses.get(part.name, FIRST_PAUSE / 2) * 2, LONGEST_PAUSE)
                self._due[part.name] = time.monotonic() + pause
                _log.warning("The %s ended with %d. It starts again in %.0f s.", part.name, code, pause)
            elif time.monotonic() >= self._due[part.name]:
                del self._due[part.name]
                self._start(part)

    def _end(self) -> None:
        for part in reversed(self._parts):
            process = self._running.get(part.name)
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _log.warning("The %s did not stop in %.0f s, and is killed.", part.name, STOP_SECONDS)
                process.kill()
                process.wait()
