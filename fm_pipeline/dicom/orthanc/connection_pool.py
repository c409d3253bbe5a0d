"""HTTP to one server over connections that are kept open, with the standard library's `http.client`.

Uploading is bound by the processor, and for each file urllib3 takes one and a half times as much of it, requests twice.
Proxies of the environment are not used, and redirects are not followed: patient data go to Orthanc and nowhere else.

A server may answer anything. Whatever it is, `ask` ends in time, keeps a bounded part of it, and raises `OrthancError`.
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

Content = bytes | memoryview | Iterable[bytes]  # of a request: whole, or block after block

_RECORDS_OF_TLS = ("\x15\x03", "\x16\x03")  # an alert, a handshake: RFC 8446, 5.1
_LONGEST_ANSWER = 64 << 20  # bytes in memory; two thousand instances, the most that are asked for at once, take 2 MB
# Orthanc closes a connection that nobody has used for a second, without a word. One that is about to be closed is not
# used: a file that is sent at that moment is lost on the way, and would look like one that has killed Orthanc.
_IDLE_SECONDS, _IDLE_SHARE = 1.0, 0.8


@dataclass(frozen=True, slots=True)
class OrthancResponse:
    """A whole answer.

    Attributes:
        location: where a redirect leads.
    """

    status: int
    data: bytes
    location: str = ""

    def json(self) -> Any:
        """Its content, or None if that is no JSON, or is nested deeper than this Python can read."""
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            return None


class ConnectionPool:
    """As many as threads ask at once.

    Args:
        url: of the server, perhaps with a path that goes before every other.
        username, password: empty for a server without login.
        timeout_seconds: for connecting, and for an answer if nothing else is said.
        ca_bundle: PEM file of the authority that signed the server's certificate; None for those that this machine
            trusts.

    Raises:
        ValueError, OSError: the address is none, or the bundle cannot be read.
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
        """Close those that nobody uses."""
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
        """Send a request and wait for its answer.

        Args:
            body: with blocks, `headers` must have the Content-Length. What they raise comes through, and the
                connection is closed.
            seconds: for the sending, and again for all of the answer.
            into: gets the content of an answer with status 200, block after block, if it is too large for memory.

        Raises:
            OrthancRefusedConnection: nothing was sent.
            AnswerTimedOut: not in time.
            NoAnswer: the connection ended before the answer.
            TlsFault, NotHttp, UnusableAnswer: what answers is no server for this client.
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
        """Why no answer can be right: http where https is spoken. None if that is not so."""
        return other_scheme(self._host, self._port, bool(self._tls), self._timeout)

    def _why_none(self, error: Exception) -> OrthancError:
        """What it means that no answer came."""
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
        """One that is open: a server closes those that were not used for a while, and that is no lost answer."""
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
        except (OSError, HTTPException, UnicodeError) as error:  # the latter two of a name that can be no host's
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
    """Whether all of a request was sent. A server may answer, and close, before it has read everything."""
    try:
        blocks = body if body is None or isinstance(body, bytes | memoryview) else _in_time(body, connection, until)
        connection.request(method, path, blocks, headers)
    except (BrokenPipeError, ConnectionResetError):
        return False
    except TimeoutError:
        if not _has_ended(connection.sock.fileno()):
            raise
        return False  # it has answered and reads no further
    return True


def _in_time(blocks: Iterable[bytes], connection: HTTPConnection, until: float) -> Iterator[bytes]:
    for block in blocks:
        connection.sock.settimeout(max(until - time.monotonic(), 0.001))
        yield block


def _read(response: TimedResponse, method: str, path: str, into: Callable[[bytes], object] | None) -> OrthancResponse:
    """A whole answer, or `into` gets its content."""
    kept = bytearray()
    try:
        for block in decoded(response):
            if into is not None and response.status == 200:
                into(block)
                response.extend_deadline(len(block) / SLOWEST_BYTES_PER_SECOND)
                continue
            kept += block
            if len(kept) > _LONGEST_ANSWER:
                raise UnusableAnswer(method, path, response.status)
    except LookupError:
        raise UnusableAnswer(method, path, response.status) from None
    return OrthancResponse(response.status, bytes(kept), response.getheader("Location") or "")


def _usable_for(response: HTTPResponse) -> float:
    """Seconds for which a connection may be used again."""
    said = re.search(r"timeout=(\d{1,4})", response.getheader("Keep-Alive") or "")
    return _IDLE_SHARE * min(float(said[1]) if said else _IDLE_SECONDS, 60.0)


def _kind(error: Exception) -> str:
    """How far a connection came, in words."""
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
    """Whether the other side has closed, or said something that nobody asked for."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
