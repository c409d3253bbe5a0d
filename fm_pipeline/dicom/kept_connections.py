"""HTTP to one server over connections that are kept open, with the standard library's `http.client`.

Uploading is bound by the processor, and for each file urllib3 takes one and a half times as much of it, requests twice.
Proxies of the environment are not used: patient data go to Orthanc and nowhere else.
"""

from __future__ import annotations

import json
import select
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from fm_pipeline.dicom.orthanc_errors import AnswerTimedOut, NoAnswer, OrthancRefusedConnection

Content = bytes | memoryview | Iterable[bytes]  # of a request: whole, or block after block


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    data: bytes

    def json(self) -> Any:
        """Its content, or None if that is no JSON."""
        try:
            return json.loads(self.data)
        except ValueError:
            return None


class KeptConnections:
    """As many as threads ask at once.

    Args:
        url: of the server, perhaps with a path that goes before every other.
        username, password: empty for a server without login.
        timeout_seconds: for connecting, and for an answer if nothing else is said.
    """

    def __init__(self, url: str, username: str, password: str, *, timeout_seconds: float) -> None:
        parsed = urlsplit(url)
        self._host, self._port = parsed.hostname or "", parsed.port
        self._prefix = parsed.path.rstrip("/")
        self._tls = ssl.create_default_context() if parsed.scheme == "https" else None
        self._timeout = timeout_seconds
        login = b64encode(f"{username}:{password}".encode()).decode("ascii")
        self._headers = {"Authorization": f"Basic {login}"} if username else {}
        self._idle: deque[HTTPConnection] = deque()

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def ask(
        self,
        method: str,
        path: str,
        body: Content | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
        *,
        read: Callable[[HTTPResponse], bytes] = HTTPResponse.read,
    ) -> Answer:
        """Send a request and wait for its answer.

        Args:
            body: with blocks, `headers` must have the Content-Length. What they raise comes through, and the
                connection is closed.
            seconds: for each step of sending and receiving.
            read: what becomes of the answer's content, for one that is too large for memory.

        Raises:
            OrthancRefusedConnection: nothing was sent.
            AnswerTimedOut: not in time.
            NoAnswer: the connection ended before the answer, or what came is none.
        """
        connection = self._connection(seconds or self._timeout)
        whole = False
        try:
            sent = _sent(connection, method, self._prefix + path, body, {**self._headers, **(headers or {})})
            response = connection.getresponse()
            answer = Answer(response.status, read(response))
            if response.length:  # `read` of parts does not say that the rest is missing
                raise NoAnswer
            whole = sent and not response.will_close
        except TimeoutError:
            raise AnswerTimedOut from None
        except (OSError, HTTPException):
            raise NoAnswer from None
        finally:
            if whole:
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    def _connection(self, seconds: float) -> HTTPConnection:
        """One that is open: a server closes those that were not used for a while, and that is no lost answer."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if connection.sock is not None and not _has_ended(connection.sock.fileno()):
                connection.sock.settimeout(seconds)
                return connection
            connection.close()
        connection = (
            HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
            if self._tls
            else HTTPConnection(self._host, self._port, timeout=self._timeout)
        )
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:  # the latter of a name that can be no host's
            connection.close()
            raise OrthancRefusedConnection(type(error).__name__) from None
        connection.sock.settimeout(seconds)
        return connection


def _sent(
    connection: HTTPConnection,
    method: str,
    path: str,
    body: Content | None,
    headers: Mapping[str, str],
) -> bool:
    """Whether all of a request was sent. A server may answer, and close, before it has read everything."""
    try:
        connection.request(method, path, body, headers)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _has_ended(descriptor: int) -> bool:
    """Whether the other side has closed, or said something that nobody asked for."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
