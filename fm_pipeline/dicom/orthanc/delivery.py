"""Send files to an Orthanc that may be busy, down, restarting, full, or crashed by one of the files.

Several threads send in parallel. When Orthanc closes a connection without a response, one of the files in progress may
have crashed it. Each of them is sent once more, alone, so that a lost connection identifies the file. A file is suspect
after two such sends, and the others are not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from fm_pipeline.dicom.orthanc.batch_size import BatchSize
from fm_pipeline.dicom.orthanc.client import Orthanc
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
from fm_pipeline.dicom.orthanc.parts import Parts
from fm_pipeline.dicom.orthanc.responses import NO_MEMORY
from fm_pipeline.dicom.orthanc.stored_instance import StoredInstance
from fm_pipeline.dicom.reasons import TOO_LARGE, sentence

T = TypeVar("T")

PATIENCE_SECONDS = 300  # how long to wait for Orthanc: a restart of its machine
_MOST_TRIES = 3  # for a file that Orthanc fails on while it answers other requests
_MOST_FAILURES = 100  # files in a row without one stored in between: the files are not the cause
_MOST_SENDS_WITHOUT_ANSWER = 2
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0


class Halted(Exception):
    """The job is being stopped: cancelled, interrupted, or another thread has failed. Nothing more is sent."""


class KillsOrthanc(Exception):
    """Orthanc closed the connection twice, the second time while it had this file alone. The file is suspect."""

    def __init__(self, sends: int) -> None:
        self.sends = sends
        super().__init__()


class Undeliverable(Exception):
    """Orthanc is available, but fails on this file. It is FAILED and tried again. `reason`: see `reasons.UNSENT`."""

    def __init__(self, reason: str, sends: int) -> None:
        self.reason, self.sends = reason, sends
        super().__init__(reason)


@dataclass(frozen=True)
class Waiting:
    """Since when Orthanc does not answer, and until when the job waits; both with a time zone."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class SentTogether:
    """What became of files that were sent in one request.

    Attributes:
        stored: Orthanc's responses by the id of the instance. Every other file has to be sent alone, if Orthanc does
            not have it by now.
        unanswered: the connection was lost, and one of the other files may have crashed Orthanc.
        lost: there was no response. Orthanc may store files of the request even now.
        refused: Orthanc, or a proxy, refused the whole request. Some of the files may be stored.
    """

    stored: Mapping[str, StoredInstance] = field(default_factory=dict)
    unanswered: bool = False
    lost: bool = False
    refused: bool = False


class Delivery:
    """Sends files and queries for all threads of a job.

    Args:
        halt: set when nothing more may be sent.
        patience_seconds: how long to wait before `OrthancUnreachable` is raised.

    Attributes:
        waiting: set while the job waits for Orthanc; readable from any thread.
        batch_size: of the requests with several files.
        parts: of the questions about many instances.
        on_wait: called by the polling thread after each failed attempt. Its exceptions propagate.
    """

    def __init__(self, orthanc: Orthanc, halt: threading.Event, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._orthanc, self._halt, self._patience = orthanc, halt, patience_seconds
        self._lock = _ReadersWriterLock()
        self._large = threading.Lock()
        self._failures = _Failures()
        self._probing = threading.Lock()
        self.batch_size = BatchSize()
        self.parts = Parts()
        self.waiting: Waiting | None = None
        self.on_wait: Callable[[], object] = lambda: None

    def send(
        self, body: Callable[[], Content], size: int, *, large: bool = False, sends: int = 0
    ) -> tuple[StoredInstance, int]:
        """Send a file until Orthanc has accepted or refused it.

        Args:
            body: returns a new body for each attempt.
            large: send one such file at a time, because Orthanc needs three times its size in memory.
            sends: how often it was sent before without a response.

        Returns:
            Orthanc's response, and how often the file was sent.

        Raises:
            Halted, KillsOrthanc, Undeliverable: see there.
            FileRefused: Orthanc refuses the file as bad.
            FileNotTaken: a setting of Orthanc or of a proxy keeps the file out.
            OrthancStop: no file can be stored until an administrator has done something.
            OrthancUnreachable: Orthanc was unavailable for too long.
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
        unanswered, tries, begun, repeated = sends, 0, time.monotonic(), False
        with self._large if large else nullcontext():
            while True:
                with self._lock.exclusive() if unanswered else self._lock.shared():
                    if unanswered:  # the file before this one may have crashed Orthanc
                        self._wait_for_next_try(0, unanswered, sends)
                    else:
                        self._raise_if_cancelled()
                    started = time.monotonic()
                    try:
                        stored = self._orthanc.upload(body(), size)
                    except NoAnswer:
                        sends, unanswered, repeated = sends + 1, unanswered + 1, True
                        reason = "no_answer"
                    except BehindProxyGone as error:
                        repeated = True
                        if self._is_available():
                            tries, reason = self._failed_try(error, tries, begun)
                        else:  # only the proxy is up: this file may have crashed Orthanc
                            sends, unanswered = sends + 1, unanswered + 1
                            reason = "no_answer"
                    except OrthancUnreachable as error:
                        repeated = repeated or isinstance(error, AnswerTimedOut)
                        tries, reason = self._failed_try(error, tries, begun)
                    else:
                        self.batch_size.took(size, 1, time.monotonic() - started)
                        return replace(stored, repeated=repeated), sends + 1
                if unanswered >= _MOST_SENDS_WITHOUT_ANSWER:
                    raise KillsOrthanc(sends)
                if tries >= _MOST_TRIES:
                    raise Undeliverable(reason, sends)
                self._wait_for_next_try(_FIRST_PAUSE_SECONDS * 2**tries, unanswered, sends)

    def send_together(self, files: Sequence[memoryview]) -> SentTogether:
        """Send several small files in one request, once.

        Raises:
            Halted: nothing was sent.
            Undeliverable: the connection was lost, and Orthanc does not come back (`no_answer`).
        """
        size = sum(map(len, files))
        with self._lock.shared():
            self._raise_if_cancelled()
            started = time.monotonic()
            try:
                stored = self._orthanc.upload_together(files)
            except NoAnswer:
                unanswered, lost, shrinks = True, True, True
            except BehindProxyGone:
                unanswered, lost = not self._is_available(), True
                shrinks = unanswered
            except OrthancUnreachable as error:
                unanswered = False
                lost = shrinks = isinstance(error, AnswerTimedOut)
            except FileNotTaken as error:
                if error.reason == "too_large_for_proxy":
                    self.batch_size.halve(size)
                    return SentTogether()
                return SentTogether(refused=True)
            except OrthancError:
                return SentTogether(refused=True)
            else:
                if stored:
                    self._failures.clear()
                    self.batch_size.took(max(map(len, files)), len(files), time.monotonic() - started)
                return SentTogether(stored, refused=not stored)
        if shrinks:
            self.batch_size.halve(size)
        if unanswered:
            self._wait_for_next_try(_FIRST_PAUSE_SECONDS, 1, 1)
        return SentTogether(unanswered=unanswered, lost=lost)

    def _wait_for_next_try(self, pause: float, unanswered: int, sends: int) -> None:
        try:
            self.wait_until_available(pause)
        except (Halted, OrthancUnreachable, OrthancStop):
            if unanswered:  # recorded as sent, so that it is sent alone when the job is resumed
                raise Undeliverable("no_answer", sends) from None
            raise

    def _failed_try(self, error: OrthancUnreachable, tries: int, begun: float) -> tuple[int, str]:
        """Return how many failed attempts count for a file, and the reason to record."""
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

    def ask(self, question: Callable[[Orthanc], T], *, after_halt: bool = False) -> T:
        """Make a read-only request, and repeat it until Orthanc answers.

        Args:
            after_halt: also make it, once, when nothing more may be sent.

        Raises:
            Halted, OrthancStop, OrthancUnreachable: as for `send`.
        """
        begun, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
        while True:
            if not after_halt:
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
        """Wait until Orthanc is available. One thread polls, the others wait for it.

        Args:
            pause: seconds before the first attempt.

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
    """Failures that are not the files' fault: how many in a row, and from which size on."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._count = 0
        self._too_large: dict[str, int] = {}

    def raise_if_too_large(self, size: int) -> None:
        """Refuse a file that is as large as one that was refused for its size.

        Raises:
            FileNotTaken: with the same reason.
        """
        with self._busy:
            for reason, limit in self._too_large.items():
                if size >= limit:
                    raise FileNotTaken(reason, 413, sent=False)

    def add(self, error: FileNotTaken | Undeliverable, size: int) -> None:
        """Count a failure.

        Raises:
            KeepsFailing: too many files in a row have failed.
        """
        with self._busy:
            if error.reason in TOO_LARGE:
                self._too_large[error.reason] = min(size, self._too_large.get(error.reason, size))
                return  # smaller files may be accepted
            # Neither a file that a setting keeps out nor a "no_answer" counts: both are sent without repetition.
            self._count += isinstance(error, Undeliverable) and error.reason != "no_answer"
            if self._count > _MOST_FAILURES:
                raise KeepsFailing(self._count - 1, sentence(error.reason))

    def clear(self) -> None:
        """Reset the count: a file was stored, or refused as bad."""
        with self._busy:
            self._count = 0


class _ReadersWriterLock:
    """Many threads may hold it shared, or one exclusively. A thread that wants it exclusively has precedence."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers, self._writers_waiting, self._has_writer = 0, 0, False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._writers_waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._changed:
            self._writers_waiting += 1
            self._changed.wait_for(lambda: not self._readers and not self._has_writer)
            self._has_writer = True
        try:
            yield
        finally:
            with self._changed:
                self._writers_waiting -= 1
                self._has_writer = False
                self._changed.notify_all()
