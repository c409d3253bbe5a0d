"""FTP sessions with retries: a lost connection is opened again, for a limited number of attempts."""

from __future__ import annotations

import ftplib
import socket
import ssl
import time
from collections.abc import Callable
from typing import TypeVar

from fm_pipeline.dicom.ftp.connection import NoDataConnection, NotFtp, code_of
from fm_pipeline.dicom.ftp.session import (
    CONNECTION_LOST_ERRORS,
    TIMEOUT_SECONDS,
    FileBusy,
    FtpServer,
    FtpSession,
    ListingNotUnderstood,
    ServerHabits,
    TransferHeldBack,
)
from fm_pipeline.errors import FtpError

ATTEMPTS = 5  # without progress in between
PAUSE_SECONDS = 1.0  # before the second attempt; doubled before each further one
MOST_LOST = 3  # files in a row at which the connection was lost at every attempt
MOST_WITHOUT_REPLY = 20  # files in a row without a reply of the server
T = TypeVar("T")


class ConnectionLostAtFile(Exception):
    """The connection was lost at this file or folder at every attempt, although each login succeeded.

    args[0] is the error of the last attempt.
    """


class RetryingFtpSession:
    """Runs actions in an FTP session, and connects again when the connection is lost.

    Args:
        pause: sleeps between attempts.
    """

    def __init__(
        self,
        server: FtpServer,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        pause: Callable[[float], object] = time.sleep,
    ):
        self._server = server
        self._timeout = timeout_seconds
        self._pause = pause
        self._session: FtpSession | None = None
        self._habits = ServerHabits()
        self._progress = 0
        self._lost = self._without_reply = 0

    def progressed(self) -> None:
        """Reset the count of lost connections: data have arrived."""
        self._progress += 1
        self._lost = self._without_reply = 0

    def __call__(self, action: Callable[[FtpSession], T]) -> T:
        """Return the result of an action. It may be called several times.

        Raises:
            FtpError: the server does not answer, or loses the connection repeatedly.
            FileBusy: the server cannot send this now, or does not reply, as vsftpd does while another client uploads
                the file.
            ConnectionLostAtFile: the connection is lost repeatedly at this file, and only there.
            ftplib.error_perm, ListingNotUnderstood: from the action; the session stays usable.
        """
        failures = 0
        held: TransferHeldBack | None = None
        while True:
            before, inside = self._progress, False
            try:
                session = self._connected()
                if held is not None:
                    break
                inside = True
                return action(session)
            except (ftplib.error_perm, FileBusy, ListingNotUnderstood):
                raise
            except CONNECTION_LOST_ERRORS as error:
                self._abandon()
                if isinstance(error, TransferHeldBack):
                    held = error  # it is the file and not the server, if the next login succeeds
                    continue
                failures = 1 if self._progress > before else failures + 1
                if failures >= ATTEMPTS:
                    self._lost += 1
                    if not inside or self._lost >= MOST_LOST:
                        raise self.given_up(error) from None
                    raise ConnectionLostAtFile(error) from None
                self._pause(PAUSE_SECONDS * 2 ** (failures - 1))
            except BaseException:
                self._abandon()
                raise
        self._without_reply += 1
        if self._without_reply >= MOST_WITHOUT_REPLY:
            raise self.given_up(held, MOST_WITHOUT_REPLY)
        raise FileBusy

    def close(self) -> None:
        """Disconnect. The next call connects again."""
        session, self._session = self._session, None
        if session is not None:
            session.__exit__(None, None, None)

    def _abandon(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.abandon()

    def _connected(self) -> FtpSession:
        if self._session is None:
            self._session = FtpSession(self._server, timeout_seconds=self._timeout, habits=self._habits).__enter__()
        return self._session

    def given_up(self, error: BaseException, attempts: int = ATTEMPTS) -> FtpError:
        """Return the error to report after the last attempt."""
        if isinstance(error, ConnectionLostAtFile):
            error = error.args[0]
        return FtpError(
            f"The FTP server {self._server.host} does not answer, or loses the connection: {attempts} attempts"
            f" in a row brought nothing ({self._reason(error)}).",
            meaning="What was pulled stays.",
            remedy=f"{self._hint(error)} Then pull again: it goes on where it was.",
        )

    def _reason(self, error: BaseException) -> str:
        code = code_of(error)
        if code:
            return f"reply {code}"
        if isinstance(error, ssl.SSLError):
            return f"TLS: {error.reason or type(error).__name__}"
        reasons: dict[type[BaseException], str] = {
            NoDataConnection: "no data connection",
            NotFtp: "a reply that is not FTP's",
            socket.gaierror: "its name is not known",
            ConnectionRefusedError: f"nothing answers on port {self._server.port}",
            TimeoutError: f"no answer within {self._timeout:g} s",
            EOFError: "it closes the connection",
            ConnectionResetError: "it closes the connection",
        }
        return next((text for kind, text in reasons.items() if isinstance(error, kind)), type(error).__name__)

    def _hint(self, error: BaseException) -> str:
        code = code_of(error)
        if code == "425" or isinstance(error, NoDataConnection):
            other = "--no-ftp-passive" if self._server.passive else "--ftp-passive"
            return f"It cannot open data connections: check the firewalls for its passive ports, or try {other}."
        if code == "421":
            return "It takes no more connections, or shuts down: look at its limits."
        if isinstance(error, socket.gaierror):
            return "Check --ftp-host."
        if isinstance(error, TimeoutError) and self._server.port == 990:
            return (
                "Port 990 is for TLS from the first byte, which is not supported: use the port of AUTH TLS, mostly 21."
            )
        if isinstance(error, (ConnectionRefusedError, TimeoutError, EOFError)):
            return "Check --ftp-host and --ftp-port, and the way to the server."
        return "Check the server and the way to it."
