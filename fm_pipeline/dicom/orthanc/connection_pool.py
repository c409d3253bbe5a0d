"""A pool of persistent HTTP connections to one server, with the standard library's `http.client`.

Uploads are limited by the processor: urllib3 needs 1.5 times as much of it per file, requests twice as much. Proxies of
the environment are not used, and redirects are not followed: patient data go to Orthanc and nowhere else.

A server may respond with anything. `ask` always ends in time, keeps a bounded part of it, and raises `OrthancError`.
"""

from __future__ import annotations

import json
import re
import select
import ssl
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http.client import (
    BadStatusLine,
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    LineTooLong,
    UnknownProtocol,
)
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

from fm_pipeline.dicom.orthanc.connection_faults import connection_fault, other_scheme, speaks_https
from fm_pipeline.dicom.orthanc.errors import (
    AnswerTimedOut,
    NoAnswer,
    NotHttp,
    OrthancError,
    OrthancRefusedConnection,
    TlsFault,
    UnusableAnswer,
)
from fm_pipeline.http_response import SLOWEST_BYTES_PER_SECOND, TimedResponse, decoded

Content = bytes | memoryview | Iterable[bytes | memoryview]  # the body of a request, or its blocks

_RECORDS_OF_TLS = ("\x15\x03", "\x16\x03")  # an alert, a handshake: RFC 8446, 5.1
_LONGEST_RESPONSE = 64 << 20  # bytes in memory; the largest regular response, for 2,000 instances, has 2 MB
# Orthanc closes a connection after one idle second without notice. A connection that is about to be closed is not used:
# a file that is sent at that moment gets no response, and would look like one that has crashed Orthanc.
_IDLE_SECONDS, _IDLE_SHARE = 1.0, 0.8


@dataclass(frozen=True, slots=True)
class OrthancResponse:
    """A complete response.

    Attributes:
        location: the target of a redirect.
    """

    status: int
    data: bytes
    location: str = ""

    def json(self) -> Any:
        """Return the content parsed as JSON; None if it is not JSON, or is nested too deep for Python."""
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            return None


class ConnectionPool:
    """The pool. It holds as many connections as threads make requests at a time.

    Args:
        url: of the server. Its path is a prefix of all paths.
        username, password: empty for a server without login.
        timeout_seconds: for connecting, and for a response by default.
        ca_bundle: PEM file of the authority that signed the server's certificate; None for the authorities that this
            machine trusts.

    Raises:
        ValueError, OSError: the URL is invalid, or the bundle cannot be read.
    """

    def __init__(
        self, url: str, username: str, password: str, *, timeout_seconds: float, ca_bundle: Path | None = None
    ) -> None:
        parsed = urlsplit(url)
        self._host, self._port = parsed.hostname or "", parsed.port
        self._prefix = quote(parsed.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
        cafile = str(ca_bundle) if ca_bundle else None
        self._tls = ssl.create_default_context(cafile=cafile) if parsed.scheme == "https" else None
        self._timeout = timeout_seconds
        login = b64encode(f"{username}:{password}".encode()).decode("ascii")
        self._headers = {"Authorization": f"Basic {login}"} if username else {}
        self._idle: deque[tuple[HTTPConnection, float]] = deque()
        self._has_answered = False

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop()[0].close()

    def ask(
        self,
        method: str,
        path: str,
        body: Content | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
        *,
        into: Callable[[bytes], object] | None = None,
    ) -> OrthancResponse:
        """Send a request and wait for the response.

        Args:
            body: for an iterable of blocks, `headers` must have the Content-Length. Its exceptions propagate, and the
                connection is closed.
            seconds: for sending, and again for the whole response.
            into: receives the content of a response with status 200 in blocks, if it is too large for memory.

        Raises:
            OrthancRefusedConnection: nothing was sent.
            AnswerTimedOut: the timeout has expired.
            NoAnswer: the connection was closed before the response.
            TlsFault, NotHttp, UnusableAnswer: the server cannot be used by this client.
        """
        limit = seconds or self._timeout
        connection = self._connection(limit)
        usable_for = 0.0
        try:
            given = {**self._headers, **(headers or {})}
            sent = _sent(connection, method, self._prefix + path, body, given, time.monotonic() + limit)
            until = time.monotonic() + limit
            connection.response_class = partial(TimedResponse, until=until)  # type: ignore[assignment]
            try:
                with connection.getresponse() as response:
                    answer = _read(cast("TimedResponse", response), method, path, into)
            except ValueError as error:  # of http.client, for what cannot be read
                raise HTTPException from error
            self._has_answered = True
            if sent and not response.will_close and response.status >= 200:
                usable_for = _usable_for(response)
        except TimeoutError:
            raise AnswerTimedOut from None
        except (OSError, HTTPException) as error:
            raise self._why_none(error) from None
        finally:
            if usable_for:
                self._idle.append((connection, time.monotonic() + usable_for))
            else:
                connection.close()
        return answer

    def fault_of_scheme(self) -> TlsFault | None:
        """Return an error if the scheme of the URL is not the one that the server speaks."""
        return other_scheme(self._host, self._port, bool(self._tls), self._timeout)

    def _why_none(self, error: Exception) -> OrthancError:
        """Return the error for a missing response."""
        if isinstance(error, ssl.SSLError) and (fault := connection_fault(error)):
            return fault
        if isinstance(error, LineTooLong | UnknownProtocol) or (type(error) is HTTPException and error.args):
            return NotHttp()
        said = str(error.args[0]) if isinstance(error, BadStatusLine) and not isinstance(error, ConnectionError) else ""
        if said.startswith(_RECORDS_OF_TLS):
            return speaks_https()
        if not "HTTP/".startswith(said.strip("'\"")[:5].upper()):
            return NotHttp()
        nothing_came = isinstance(error, ConnectionError) and not self._has_answered
        return (self.fault_of_scheme() if nothing_came else None) or NoAnswer()

    def _connection(self, seconds: float) -> HTTPConnection:
        """Return an open connection. One that the server has closed meanwhile is replaced."""
        while self._idle:
            try:
                connection, until = self._idle.pop()
            except IndexError:
                break
            fresh = time.monotonic() < until and connection.sock is not None
            if fresh and not _has_ended(connection.sock.fileno()):
                connection.sock.settimeout(seconds)
                return connection
            connection.close()
        try:
            connection = (
                HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
                if self._tls
                else HTTPConnection(self._host, self._port, timeout=self._timeout)
            )
            connection.connect()
        except (OSError, HTTPException, UnicodeError) as error:  # the latter two mean an invalid host name
            fault = connection_fault(error)
            if fault is None and not self._has_answered and self._tls and not isinstance(error, ConnectionRefusedError):
                fault = self.fault_of_scheme()
            raise fault or OrthancRefusedConnection(_kind(error)) from None
        connection.sock.settimeout(seconds)
        return connection


def _sent(
    connection: HTTPConnection,
    method: str,
    path: str,
    body: Content | None,
    headers: Mapping[str, str],
    until: float,
) -> bool:
    """Send a request, and return whether all of it was sent. A server may respond and close before that."""
    try:
        blocks = body if body is None or isinstance(body, bytes | memoryview) else _in_time(body, connection, until)
        connection.request(method, path, blocks, headers)
    except (BrokenPipeError, ConnectionResetError):
        return False
    except TimeoutError:
        if not _has_ended(connection.sock.fileno()):
            raise
        return False  # it has responded and reads no further
    return True


def _in_time(
    blocks: Iterable[bytes | memoryview], connection: HTTPConnection, until: float
) -> Iterator[bytes | memoryview]:
    for block in blocks:
        connection.sock.settimeout(max(until - time.monotonic(), 0.001))
        yield block


def _read(response: TimedResponse, method: str, path: str, into: Callable[[bytes], object] | None) -> OrthancResponse:
    """Read a whole response, or pass its content to `into`."""
    kept = bytearray()
    try:
        for block in decoded(response):
            if into is not None and response.status == 200:
                into(block)
                response.extend_deadline(len(block) / SLOWEST_BYTES_PER_SECOND)
                continue
            kept += block
            if len(kept) > _LONGEST_RESPONSE:
                raise UnusableAnswer(method, path, response.status)
    except LookupError:
        raise UnusableAnswer(method, path, response.status) from None
    return OrthancResponse(response.status, bytes(kept), response.getheader("Location") or "")


def _usable_for(response: HTTPResponse) -> float:
    """Return for how many seconds a connection may be reused."""
    said = re.search(r"timeout=(\d{1,4})", response.getheader("Keep-Alive") or "")
    return _IDLE_SHARE * min(float(said[1]) if said else _IDLE_SECONDS, 60.0)


def _kind(error: Exception) -> str:
    """Describe how far a connection attempt came."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens at its port"
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if type(error).__name__ == "gaierror":
        return "its name is not known to this machine"
    if isinstance(error, UnicodeError | HTTPException):
        return "no server can have this name"
    return type(error).__name__


def _has_ended(descriptor: int) -> bool:
    """Return whether the server has closed the connection, or sent unexpected data."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
