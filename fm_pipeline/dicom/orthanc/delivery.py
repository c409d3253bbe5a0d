"""Sends files to Orthanc through whatever happens to it: busy, down, restarting, full, or killed by one of the files.

Many threads send side by side. When Orthanc closes a connection without an answer, one of the files that were on the
way may have killed it, and nobody knows which. So each of those is sent once more, alone: then a lost connection
tells. A file is sent twice at most before it is suspect, and the others beside it are not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from fm_pipeline.dicom.orthanc.client import Orthanc, StoredInstance
from fm_pipeline.dicom.orthanc.connection_pool import Content
from fm_pipeline.dicom.orthanc.errors import (
    AnswerTimedOut,
    BehindProxyGone,
    FileNotTaken,
    FileRefused,
    KeepsFailing,
    NoAnswer,
    OrthancBusy,
    OrthancError,
    OrthancRefusedConnection,
    OrthancStop,
    OrthancUnreachable,
    StoredByAnother,
)
from fm_pipeline.dicom.orthanc.responses import NO_MEMORY
from fm_pipeline.dicom.reasons import TOO_LARGE, sentence

T = TypeVar("T")

PATIENCE_SECONDS = 300  # how long Orthanc may be away: a restart of its machine
_ENOUGH_TRIES = 3  # of a file that Orthanc fails on though it answers otherwise
_ENOUGH_FAILURES = 100  # one file after the other, and none stored in between: it is not the files
_MOST_SENDS_WITHOUT_ANSWER = 2
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0


class Halted(Exception):
    """The job is to end: cancelled, interrupted, or another thread has met a reason. Nothing more is sent."""


class KillsOrthanc(Exception):
    """Orthanc went away without an answer, twice, the second time with this file alone: suspect."""

    def __init__(self, sends: int) -> None:
        self.sends = sends
        super().__init__()


class Undeliverable(Exception):
    """Orthanc answers, and not for this file: FAILED, to be tried again. `reason` is an id of `reasons.UNSENT`."""

    def __init__(self, reason: str, sends: int) -> None:
        self.reason, self.sends = reason, sends
        super().__init__(reason)


@dataclass(frozen=True)
class Waiting:
    """Orthanc does not answer since then, and is waited for until then; both with a zone."""

    since: datetime
    until: datetime


class Delivery:
    """The way to Orthanc, for all threads of a job.

    Args:
        halt: set when nothing more is to be sent.
        patience_seconds: how long Orthanc may be away before `OrthancUnreachable` is raised.

    Attributes:
        waiting: whether Orthanc is waited for at this moment; from any thread.
        on_wait: called by the thread that asks, each time that Orthanc did not answer; what it raises comes through.
    """

    def __init__(self, orthanc: Orthanc, halt: threading.Event, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._orthanc, self._halt, self._patience = orthanc, halt, patience_seconds
        self._together = _ReadersWriterLock()
        self._large = threading.Lock()
        self._failures = _Failures()
        self._probing = threading.Lock()
        self.waiting: Waiting | None = None
        self.on_wait: Callable[[], object] = lambda: None

    def send(
        self, body: Callable[[], Content], size: int, *, large: bool = False, sends: int = 0
    ) -> tuple[StoredInstance, int]:
        """Send a file until Orthanc has said what becomes of it.

        Args:
            body: makes what is to be sent, anew for each time.
            large: one such file at a time, because Orthanc needs three times its size in memory.
            sends: how often it was sent before without an answer.

        Returns:
            Orthanc's answer, and how often it was sent.

        Raises:
            Halted, KillsOrthanc, Undeliverable: see there.
            FileRefused: Orthanc says that the file is bad.
            FileNotTaken: a setting of Orthanc or of a proxy keeps it out.
            OrthancStop: nothing will be stored until somebody has done something.
            OrthancUnreachable: it was away for longer than the patience.
        """
        try:
            self._failures.raise_if_too_large(size)
            stored = self._send(body, size, large=large, sends=sends)
        except (FileNotTaken, Undeliverable) as error:
            self._failures.add(error, size)
            raise
        except FileRefused:
            self._failures.clear()
            raise
        self._failures.clear()
        return stored

    def _send(self, body: Callable[[], Content], size: int, *, large: bool, sends: int) -> tuple[StoredInstance, int]:
        unanswered, tries, begun = sends, 0, time.monotonic()
        with self._large if large else nullcontext():
            while True:
                with self._together.alone() if unanswered else self._together.shared():
                    if unanswered:  # who was alone just now may have killed Orthanc, and this file is not to blame
                        self._wait_for_next_try(0, unanswered, sends)
                    else:
                        self._raise_if_cancelled()
                    try:
                        stored = self._orthanc.upload(body(), size)
                    except NoAnswer:
                        sends, unanswered = sends + 1, unanswered + 1
                        reason = "no_answer"
                    except BehindProxyGone as error:
                        if self._is_available():
                            tries, reason = self._failed_try(error, tries, begun)
                        else:  # the proxy lives, and Orthanc perhaps died of this file
                            sends, unanswered = sends + 1, unanswered + 1
                            reason = "no_answer"
                    except OrthancUnreachable as error:
                        tries, reason = self._failed_try(error, tries, begun)
                    else:
                        return stored, sends + 1
                if unanswered >= _MOST_SENDS_WITHOUT_ANSWER:
                    raise KillsOrthanc(sends)
                if tries >= _ENOUGH_TRIES:
                    raise Undeliverable(reason, sends)
                self._wait_for_next_try(_FIRST_PAUSE_SECONDS * 2**tries, unanswered, sends)

    def _wait_for_next_try(self, pause: float, unanswered: int, sends: int) -> None:
        try:
            self.wait_until_available(pause)
        except (Halted, OrthancUnreachable, OrthancStop):
            if unanswered:  # on record as sent once, so that it is sent alone when the job is resumed
                raise Undeliverable("no_answer", sends) from None
            raise

    def _failed_try(self, error: OrthancUnreachable, tries: int, begun: float) -> tuple[int, str]:
        """How many tries of a file count against it, and the reason if it comes to that."""
        if isinstance(error, AnswerTimedOut):
            return tries + 1, "orthanc_timeout"
        if isinstance(error, StoredByAnother):
            return tries + 1, "stored_by_another"
        if isinstance(error, OrthancRefusedConnection):
            return tries, "orthanc_error"  # nothing was sent
        if isinstance(error, OrthancBusy | BehindProxyGone):
            if time.monotonic() - begun > self._patience:
                raise error
            return tries, "orthanc_error"
        return tries + 1, "orthanc_out_of_memory" if error.code == NO_MEMORY else "orthanc_error"

    def _is_available(self) -> bool:
        try:
            self._orthanc.system()
        except OrthancError:
            return False
        return True

    def ask(self, question: Callable[[Orthanc], T]) -> T:
        """Ask Orthanc something that changes nothing, again until it answers.

        Raises:
            Halted, OrthancStop, OrthancUnreachable: as for `send`.
        """
        begun, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
        while True:
            self._raise_if_cancelled()
            try:
                return question(self._orthanc)
            except OrthancStop:
                raise
            except OrthancError as error:
                if time.monotonic() - begun > self._patience:
                    raise OrthancUnreachable(f"Orthanc does not answer a question: {error.what}") from error
                self.wait_until_available(pause)
                pause *= 2

    def wait_until_available(self, pause: float = 0) -> None:
        """Wait until Orthanc answers; one thread asks, the others wait for it.

        Args:
            pause: seconds before the first question.

        Raises:
            Halted, OrthancStop, OrthancUnreachable: as for `send`.
        """
        self._halt.wait(min(pause, _LONGEST_PAUSE_SECONDS))
        pause = _FIRST_PAUSE_SECONDS
        with self._probing:
            begun, since = time.monotonic(), datetime.now(UTC)
            while True:
                self._raise_if_cancelled()
                try:
                    self._orthanc.system()
                except OrthancStop:
                    raise
                except OrthancError as error:
                    if time.monotonic() - begun > self._patience:
                        raise OrthancUnreachable(
                            f"Orthanc has been away for {self._patience:.0f} seconds. {error.what}"
                        ) from error
                    self.waiting = Waiting(since, since + timedelta(seconds=self._patience))
                    self.on_wait()
                else:
                    self.waiting = None
                    return
                self._halt.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _raise_if_cancelled(self) -> None:
        if self._halt.is_set():
            raise Halted


class _Failures:
    """What was not taken for reasons that are not the files': how many in a row, and how large it must be."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._count = 0
        self._too_large: dict[str, int] = {}

    def raise_if_too_large(self, size: int) -> None:
        """What is as large as a file that was refused for its size is not sent.

        Raises:
            FileNotTaken: as for that one.
        """
        with self._busy:
            for reason, limit in self._too_large.items():
                if size >= limit:
                    raise FileNotTaken(reason, 413, sent=False)

    def add(self, error: FileNotTaken | Undeliverable, size: int) -> None:
        """One more.

        Raises:
            KeepsFailing: too many in a row.
        """
        with self._busy:
            if error.reason in TOO_LARGE:
                self._too_large[error.reason] = min(size, self._too_large.get(error.reason, size))
                return  # smaller ones may be taken
            # What a setting keeps out is sent once, and a "no_answer" was waited for: neither costs much time.
            self._count += isinstance(error, Undeliverable) and error.reason != "no_answer"
            if self._count > _ENOUGH_FAILURES:
                raise KeepsFailing(self._count - 1, sentence(error.reason))

    def clear(self) -> None:
        """A file was stored, or refused for what is in it."""
        with self._busy:
            self._count = 0


class _ReadersWriterLock:
    """Either any number side by side, or one alone; who wants to be alone is not kept waiting by newcomers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._senders, self._want_alone, self._is_alone = 0, 0, False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._want_alone)
            self._senders += 1
        try:
            yield
        finally:
            with self._changed:
                self._senders -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._want_alone += 1
            self._changed.wait_for(lambda: not self._senders and not self._is_alone)
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._want_alone -= 1
                self._is_alone = False
                self._changed.notify_all()
