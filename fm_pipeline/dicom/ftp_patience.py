"""Sessions with an FTP server one after the other: a lost connection is taken up again, for a while."""

from __future__ import annotations

import ftplib
import time
from collections.abc import Callable
from typing import TypeVar

from fm_pipeline.dicom.ftp_session import LOST, FileBusy, FtpServer, FtpSession
from fm_pipeline.errors import FtpError

ATTEMPTS = 5  # without anything new in between
PAUSE_SECONDS = 1.0  # before the second attempt; doubled before each further one
T = TypeVar("T")


class PatientSession:
    """Call it with what is to be done in a session.

    Args:
        pause: waits between attempts.
    """

    def __init__(self, server: FtpServer, *, timeout_seconds: float, pause: Callable[[float], object] = time.sleep):
        self._server = server
        self._timeout = timeout_seconds
        self._pause = pause
        self._session: FtpSession | None = None
        self._progress = 0

    def progressed(self) -> None:
        """Something new has arrived: the next loss is the first one again."""
        self._progress += 1

    def __call__(self, action: Callable[[FtpSession], T]) -> T:
        """The action's result; it may be called several times.

        Raises:
            FtpError: the server does not answer, or loses the connection again and again.
            ftplib.error_perm, FileBusy: it refuses what the action asks for; the session stays usable.
        """
        failures = 0
        while True:
            before = self._progress
            try:
                return action(self._connected())
            except (ftplib.error_perm, FileBusy):
                raise
            except LOST as error:
                self.close()
                failures = 1 if self._progress > before else failures + 1
                if failures >= ATTEMPTS:
                    raise self._given_up(error) from None
                self._pause(PAUSE_SECONDS * 2 ** (failures - 1))
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Hang up; the next call connects again."""
        session, self._session = self._session, None
        if session is not None:
            session.__exit__(None, None, None)

    def _connected(self) -> FtpSession:
        if self._session is None:
            self._session = FtpSession(self._server, timeout_seconds=self._timeout).__enter__()
        return self._session

    def _given_up(self, error: BaseException) -> FtpError:
        return FtpError(
            f"The FTP server {self._server.host} does not answer, or loses the connection: {ATTEMPTS} attempts"
            f" in a row brought nothing ({type(error).__name__}).",
            meaning="What was pulled stays.",
            remedy="Check the server and the way to it, then pull again: it goes on where it was.",
        )
