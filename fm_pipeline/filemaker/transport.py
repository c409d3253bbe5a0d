"""HTTP to a FileMaker Server: TLS, time-outs and retries, for the Data API and OData.

The environment does not decide where patient data goes: proxy variables, `.netrc` and CA variables are ignored.
"""

from __future__ import annotations

import ipaddress
import logging
import random
import ssl
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, ReadTimeoutError

from fm_pipeline.certificates import certificate_refusal
from fm_pipeline.errors import SettingsError
from fm_pipeline.filemaker.errors import (
    AnswerCut,
    AnswerTooLarge,
    CertificateRefused,
    ContainerElsewhere,
    ContainerTooLarge,
    NotTheDataApi,
    ServerTimeout,
    ServerUnavailable,
    UnreadableAnswer,
)
from fm_pipeline.http_response import TimedResponse, unpacked
from fm_pipeline.retry import exponential_pauses, retry

_log = logging.getLogger(__name__)

ATTEMPTS = 6  # with the pauses below about half a minute: a restart of the web server
FIRST_PAUSE = 1.0  # seconds, doubled each time
LONGEST_PAUSE = 30.0
CONNECT_TIMEOUT = 10.0  # seconds; the time-out in the settings applies to the answer
LONGEST_ANSWER = 1 << 28  # bytes; ten thousand records, the most that are asked for at once, are a tenth of it
LONGEST_SECONDS = 600.0  # of an answer's content, also when it comes in drops
PIECE = 1 << 16  # bytes of a file that are read at a time
NOT_ANSWERING = {500, 502, 503, 504}  # with a body that is not FileMaker's: the web server speaks for it

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A call: method, percent-encoded path on the server, query and JSON body. A finished query may end the path.

    `action` describes it for errors and logs, for example "read the layout API_Notes"; names only, never values.
    """

    method: str
    path: str
    action: str
    params: Mapping[str, str | int] | None = None
    body: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FetchedResponse:
    """A response with a file, a redirect or a page: status, case-insensitive headers, cookies by name, whole body."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Transport:
    """Sends calls to one server.

    Args:
        base_url: `https://host`, or `http://` for this machine only.
        ca_bundle: PEM file of the authority to trust; None for the public ones.
        timeout: seconds without a byte of the answer.
        sleep: waits between attempts.

    Raises:
        SettingsError: the URL would send the password in the clear, or the bundle is not there or none.
    """

    def __init__(
        self,
        base_url: str,
        *,
        ca_bundle: Path | None,
        timeout: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base = _safe_base_url(base_url)
        if ca_bundle is not None:
            _require_ca_bundle(ca_bundle)
        self._timeout = timeout
        self._sleep = sleep
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _TimedAdapter())
        self._session.headers["Accept-Encoding"] = "gzip, deflate"  # what is unpacked here
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # those of containers go by hand
        self._session.verify = str(ca_bundle) if ca_bundle else True
        self._session.headers["User-Agent"] = "fm_pipeline"

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def send(
        self,
        call: Call,
        read: Callable[[FetchedResponse], T],
        *,
        headers: Mapping[str, str] | None = None,
        attempts: int = ATTEMPTS,
        timeout: float | None = None,
    ) -> T:
        """Send a call and return what `read` makes of the response.

        Args:
            read: raises ServerUnavailable for an answer that a repetition may improve.
            attempts: how often to send it while the server does not answer; 1 for calls that must not be repeated.
            timeout: seconds without a byte of the answer, if not those of the transport.

        Raises:
            ServerUnavailable: no connection, 502, 503, 504 or an incomplete answer, at every attempt.
            ServerTimeout: connected, but no answer in time; not repeated here.
            CertificateRefused: the certificate is not trusted; nothing was sent.
            UnreadableAnswer: the same broken bytes came twice.
            NotTheDataApi: a redirect to what is no address, or what `read` raises.
        """
        pauses = (
            pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
            for pause in islice(exponential_pauses(FIRST_PAUSE, LONGEST_PAUSE), attempts - 1)
        )
        cut = b""

        def once() -> T:
            nonlocal cut
            response = self._send_once(call, dict(headers or {}), self._timeout if timeout is None else timeout)
            try:
                return read(response)
            except AnswerCut as error:
                if response.body == cut:  # a connection does not break twice at the same byte
                    raise UnreadableAnswer(error.what) from None
                cut = response.body
                raise

        return retry(
            once,
            is_transient=lambda error: isinstance(error, ServerUnavailable),
            pauses=pauses,
            before_retry=lambda _, attempt, pause: _log.warning(
                "FileMaker Server did not answer when asked to %s; try %d of %d in %.1f s.",
                *(call.action, attempt, attempts, pause),
            ),
            sleep=self._sleep,
        )

    def fetch(
        self, url: str, action: str, *, token: str, cookie: str, limit: int | None, longest: float
    ) -> FetchedResponse:
        """GET a file from this server. Redirects are not followed, and nothing is retried.

        Args:
            url: as the server sent it.
            token: of the session.
            cookie: value of the Cookie header; empty for none.
            limit: maximum size of the body in bytes; None to leave it unread.
            longest: maximum duration of the whole download in seconds.

        Raises:
            ContainerElsewhere: the URL names another server; nothing was sent there.
            ContainerTooLarge: the body is larger than the limit.
            ServerUnavailable, ServerTimeout, CertificateRefused: as for `send`.
        """
        if origin(url) != origin(self.base):
            raise ContainerElsewhere(f"The URL that FileMaker gave is not of FileMaker Server when asked to {action}.")
        headers = {**bearer(token), "Accept-Encoding": "identity"}
        headers |= {"Cookie": cookie} if cookie else {}
        with self._connection_errors(action, self._timeout):
            response = self._session.get(
                url, headers=headers, timeout=(CONNECT_TIMEOUT, self._timeout), allow_redirects=False, stream=True
            )
            with response:
                body = b"" if limit is None else self._body(response, action, limit, longest)
                return FetchedResponse(response.status_code, response.headers, _cookies(response), body)

    def _body(self, response: requests.Response, action: str, limit: int, longest: float) -> bytes:
        """Read the body. urllib3 compares its length with Content-Length."""
        ends_at = time.monotonic() + longest
        # Decompressed here, because urllib3 accepts a compressed file that is cut off.
        zipped = response.headers.get("Content-Encoding", "").strip().lower() in {"gzip", "x-gzip", "deflate"}
        pieces = response.raw.stream(PIECE, decode_content=False)
        body = bytearray()
        for piece in unpacked(pieces) if zipped else pieces:
            body += piece
            if len(body) > limit:
                raise ContainerTooLarge(f"The file has more than {limit:,} bytes when asked to {action}.")
            if time.monotonic() > ends_at:
                raise ServerTimeout(f"The file did not come within {longest:g} seconds when asked to {action}.")
        return bytes(body)

    def _send_once(self, call: Call, headers: dict[str, str], timeout: float) -> FetchedResponse:
        with self._connection_errors(call.action, timeout):
            response = self._session.request(
                call.method,
                f"{self.base}/{call.path}",
                headers=headers,
                params=call.params,
                json=call.body,
                timeout=(CONNECT_TIMEOUT, timeout),
                allow_redirects=False,
                stream=True,
            )
            with response:
                try:
                    content = self._body(response, call.action, LONGEST_ANSWER, LONGEST_SECONDS)
                except ContainerTooLarge:
                    raise AnswerTooLarge(f"FileMaker Server sent too much when asked to {call.action}.") from None
                return FetchedResponse(response.status_code, response.headers, {}, content)

    @contextmanager
    def _connection_errors(self, action: str, timeout: float) -> Iterator[None]:
        """Translate errors of requests, without the URL."""
        try:
            yield
        except requests.exceptions.SSLError as error:
            raise _tls_error(error) from None
        except (requests.exceptions.ReadTimeout, ReadTimeoutError):
            raise _too_slow(action, timeout) from None
        except (requests.exceptions.RequestException, HTTPError, EOFError, zlib.error) as error:
            if error.args and isinstance(error.args[0], ReadTimeoutError):  # within the body
                raise _too_slow(action, timeout) from None
            raise ServerUnavailable(
                f"There was no connection to FileMaker Server, or it broke, when asked to {action}."
            ) from None
        except ValueError:  # requests parses the target of a redirect even if it does not follow it
            raise NotTheDataApi(f"The answer leads to what is no address when asked to {action}.") from None


def _tls_error(error: requests.exceptions.SSLError) -> CertificateRefused:
    refusal = certificate_refusal(error, address="FILEMAKER_URL", authority="FILEMAKER_CA_BUNDLE")
    if refusal is None:
        return CertificateRefused("FileMaker Server and this machine do not agree on TLS.")
    return CertificateRefused(f"The certificate of FileMaker Server {refusal.why}.", remedy=refusal.remedy)


def _too_slow(action: str, timeout: float) -> ServerTimeout:
    return ServerTimeout(f"FileMaker Server did not answer within {timeout:g} seconds when asked to {action}.")


class _TimedConnection(HTTPConnection):
    """A connection whose time-out applies to all headers together, and to each read of the content."""

    def getresponse(self) -> Any:
        idle = self.timeout if isinstance(self.timeout, int | float) else LONGEST_SECONDS
        until = time.monotonic() + idle
        self.response_class = partial(TimedResponse, until=until, idle=idle)  # type: ignore[assignment]
        response = super().getresponse()
        original = cast("TimedResponse", response._original_response)  # urllib3 does not expose it elsewhere
        original.extend_deadline(LONGEST_SECONDS)
        return response


class _TimedTlsConnection(_TimedConnection, HTTPSConnection):
    """The same over TLS."""


class _TimedAdapter(HTTPAdapter):
    """An adapter whose connections have a deadline."""

    def init_poolmanager(self, *given: Any, **more: Any) -> None:
        super().init_poolmanager(*given, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class _Pool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTlsConnection


def _cookies(response: requests.Response) -> dict[str, str]:
    """Return the cookies without attributes. From urllib3: requests joins several by commas, which dates contain."""
    pairs = (line.partition(";")[0].partition("=") for line in response.raw.headers.getlist("Set-Cookie"))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip() and value.strip()}


def basic(username: str, password: str) -> dict[str, str]:
    """Return the header of an account."""
    return {"Authorization": "Basic " + b64encode(f"{username}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    """Return the header of a session."""
    return {"Authorization": f"Bearer {token}"}


def looks_complete(body: bytes) -> bool:
    """Tell whether a body that is no JSON ends as JSON does, so that it was written wrong and not cut off."""
    return body.rstrip().endswith(b"}")


def origin(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, lower-case host and port, to which a token may be sent; None if it is not a plain web address."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or parts.password is not None:
        return None
    return parts.scheme, parts.hostname, port


def _require_ca_bundle(file: Path) -> None:
    """requests would look at it with the first call, and tell a file of something else as a broken connection."""
    try:
        ssl.create_default_context(cafile=str(file))
    except OSError:  # ssl.SSLError is one
        raise SettingsError(
            "FILEMAKER_CA_BUNDLE: the file does not exist, cannot be read, or has no certificate of an authority.",
            remedy="Name the PEM file of the authority that signed FileMaker Server's certificate, or leave it empty.",
        ) from None


def _safe_base_url(base_url: str) -> str:
    parts = urlsplit(base_url.rstrip("/"))
    host = parts.hostname or ""
    if parts.path.startswith("/fmi"):
        raise SettingsError(
            "FILEMAKER_URL has the path of the Data API or of OData in it.",
            remedy="Write it as https://filemaker.clinic.example; the pipeline adds the path of FILEMAKER_DOOR.",
        )
    if parts.scheme == "https" and host and not parts.username and not parts.query:
        return base_url.rstrip("/")
    if parts.scheme == "http" and _is_this_machine(host) and not parts.username and not parts.query:
        return base_url.rstrip("/")
    raise SettingsError(
        "FILEMAKER_URL is not a safe address of a FileMaker Server.",
        meaning="Only https:// (or http:// on this machine) keeps the password and the records private.",
        remedy="Write it as https://filemaker.clinic.example, without account and password.",
    )


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
