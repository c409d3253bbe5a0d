"""What pages that are asked again and again show: read once for all of them, in a thread, at most every few seconds.

    counts = Snapshot(lambda: read_nexus_counts(PIPELINE), every=10)
    counts.get(wait=3)      # the newest answer; a page never waits longer

However many pages are open, a system is asked once in `every` seconds, and not at all while no page is open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillAtWork
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from fm_pipeline.errors import PipelineError, unforeseen

T = TypeVar("T")

_LONG_SECONDS, _TIMES = 1.0, 10  # an answer that took longer than this is shown for so many times as long


@dataclass(frozen=True)
class Seen(Generic[T]):
    """The newest answer.

    Attributes:
        value: None if there is none yet, or if the last attempt failed.
        at: when it was read; None before the first one.
        error: why the last attempt failed.
        number: another one for another answer.
        change: the newest change that it knows of.
    """

    value: T | None = None
    at: datetime | None = None
    error: PipelineError | None = None
    number: int = 0
    change: int = 0


class Snapshot(Generic[T]):
    """One answer for all who ask.

    Args:
        read: asks the systems; its own time-outs are the limit of an attempt.
        every: seconds for which an answer is new enough.
    """

    def __init__(self, read: Callable[[], T], *, every: float) -> None:
        self._read, self._every = read, every
        self._seen: Seen[T] = Seen()
        self._stale_from = 0.0
        self._begun = 0.0  # when the reading of the newest answer began
        self._reader: threading.Thread | None = None
        self._changed = threading.Condition()

    def get(self, *, wait: float = 0, change: int = 0) -> Seen[T]:
        """Return the newest answer, and have it read anew in the background if it is too old.

        Args:
            wait: seconds; only the first answer of all, and the first after a change, is waited for.
            change: number of the newest change that the caller knows of. Of an answer that was read before it, only
                the number is returned.
        """
        with self._changed:
            if self._reader is None and (time.monotonic() >= self._stale_from or self._seen.change < change):
                self._reader = threading.Thread(target=self._refresh, args=(change,), name="snapshot", daemon=True)
                self._reader.start()
            self._changed.wait_for(lambda: self._seen.at is not None and self._seen.change >= change, timeout=wait)
            return self._seen if self._seen.change >= change else Seen(number=self._seen.number)

    def fresh(self) -> T:
        """Read now, for a page that is opened; who asks with `get` afterwards is told the same, or what is newer.

        Raises:
            Exception: what `read` has raised.
        """
        begun = time.monotonic()
        value = self._read()
        with self._changed:
            self._keep(begun, value, None, self._seen.change)
            self._changed.notify_all()
        return value

    def expire(self) -> None:
        """Have the next caller read it anew: something has changed."""
        with self._changed:
            self._stale_from = 0.0

    def _refresh(self, change: int) -> None:
        value, error, begun = None, None, time.monotonic()
        try:
            value = self._read()
        except PipelineError as fault:
            error = fault
        except Exception as fault:  # noqa: BLE001  # shown without its text
            error = unforeseen(fault)
        with self._changed:
            self._keep(begun, value, error, change)
            self._reader = None
            self._changed.notify_all()

    def _keep(self, begun: float, value: T | None, error: PipelineError | None, change: int) -> None:
        if begun < self._begun:  # one whose reading began later has come first
            return
        self._begun = begun
        self._seen = Seen(value, datetime.now(UTC), error, self._seen.number + 1, change)
        self._stale_from = time.monotonic() + self._every


class SlowAnswer(Generic[T]):
    """An answer that takes milliseconds in a small clinic, and most of a minute in a large one.

    `get` asks anew, but shows one that took long for ten times that time first. `fresh` always asks anew.

    Args:
        ask: gives the answer.
    """

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._changing = threading.Lock()
        self._answer: Future[T] | None = None
        self._new_until = 0.0

    def get(self, *, wait: float) -> T | None:
        """Return the answer; None if it does not come within so many seconds.

        Raises:
            Exception: what `ask` has raised.
        """
        with self._changing:
            if self._answer is None or (self._answer.done() and time.monotonic() > self._new_until):
                self._answer = Future()
                threading.Thread(target=self._give, args=(self._answer,), name="slow-answer", daemon=True).start()
            answer = self._answer
        try:
            return answer.result(timeout=wait)
        except StillAtWork:
            return None

    def fresh(self) -> T:
        """Ask now, however long it takes, and return the answer; who asks with `get` afterwards is told the same.

        Raises:
            Exception: what `ask` has raised.
        """
        answer: Future[T] = Future()
        self._give(answer, newest=True)
        return answer.result()

    def _give(self, answer: Future[T], *, newest: bool = False) -> None:
        begun = time.monotonic()
        try:
            given = self._ask()
        except Exception as fault:  # noqa: BLE001  # raised in the threads of those who wait
            answer.set_exception(fault)
            return
        now = time.monotonic()
        with self._changing:
            if newest:
                self._answer = answer
            if self._answer is answer:  # else one that was asked for with `fresh` has taken its place
                self._new_until = now + (_TIMES * (now - begun) if now - begun > _LONG_SECONDS else 0)
            answer.set_result(given)
