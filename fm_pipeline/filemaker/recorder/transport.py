"""A transport that notes each request and its answer, and then hands the answer on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from fm_pipeline.filemaker.errors import RequestRefused
from fm_pipeline.filemaker.recorder.names import Names
from fm_pipeline.filemaker.recorder.recording import Exchange
from fm_pipeline.filemaker.recorder.shapes import code_in, shape_of
from fm_pipeline.filemaker.recorder.vocabulary import HEADERS, PATH_WORDS
from fm_pipeline.filemaker.transport import Call, FetchedResponse, Transport

MOST_REQUESTS: Final = 40  # a server that others work on shall not notice
_OPTION = re.compile(r"(?:\$|%24|_)?[a-z]{3,12}")
_MEDIA_TYPE = re.compile(
    r"(application|text|image)/[a-z0-9.+-]{1,40}"
    r"(;\s?(charset=utf-8|odata\.metadata=\w{1,10}|odata\.streaming=\w{1,5}|IEEE754Compatible=\w{1,5}))*",
    re.IGNORECASE,
)
_SERVERS = re.compile(r"(nginx|Apache|Microsoft-IIS|Microsoft-HTTPAPI|openresty|FileMaker|Claris)(/[\d.]{1,12})?")
_HEADER_VALUES = {
    "content-type": _MEDIA_TYPE,
    "odata-version": re.compile(r"\d\.\d{1,2}"),
    "server": _SERVERS,
}

T = TypeVar("T")


class BudgetSpent(RequestRefused):
    """A recording has sent as many requests as it may."""


class RecordingTransport(Transport):
    """Notes what goes through it, at most so many requests, and sends none a second time.

    Args:
        names: replaces the clinic's names.
        most: how many requests it sends; a logout is always sent.
    """

    def __init__(self, base_url: str, names: Names, *, most: int = MOST_REQUESTS, **options: Any) -> None:
        super().__init__(base_url, **options)
        self._names = names
        self._left = most
        self._noted: list[Exchange] = []

    def taken(self) -> list[Exchange]:
        """Return what was noted since the last call."""
        noted, self._noted = self._noted, []
        return noted

    def send(self, call: Call, read: Callable[[FetchedResponse], T], **options: Any) -> T:
        """See `Transport.send`; sent once, because a repetition would say nothing new."""
        self._spend(call.method)
        began = time.monotonic()

        def note_and_read(response: FetchedResponse) -> T:
            self._note(_request_line(call), response, time.monotonic() - began, has_body=True)
            return read(response)

        return super().send(call, note_and_read, **{**options, "attempts": 1})

    def fetch(
        self, url: str, action: str, *, token: str, cookie: str, limit: int | None, longest: float
    ) -> FetchedResponse:
        """See `Transport.fetch`; of a container's answer only the status and headers are taken."""
        self._spend("GET")
        began = time.monotonic()
        response = super().fetch(url, action, token=token, cookie=cookie, limit=None, longest=longest)
        self._note("GET the container's URL", response, time.monotonic() - began, has_body=False)
        return response

    def _spend(self, method: str) -> None:
        if method != "DELETE" and self._left <= 0:  # of what is read only the end of a session is a DELETE
            raise BudgetSpent("The recording has sent as many requests as it may.")
        self._left -= 1

    def _note(self, request: str, response: FetchedResponse, seconds: float, *, has_body: bool) -> None:
        self._noted.append(
            Exchange(
                request=request,
                status=response.status,
                code=code_in(response.body) if has_body else None,
                milliseconds=_two_digits(seconds),
                headers=harmless_headers(response.headers),
                shape=dict(shape_of(response.body, self._names)) if has_body else None,
            )
        )


def _request_line(call: Call) -> str:
    path, _, query = call.path.partition("?")
    parts = [part if part in PATH_WORDS else "{}" for part in path.split("/")]
    given = [pair.partition("=")[0] for pair in query.split("&") if pair]
    options = [*given, *(call.params or {}), *(call.body or {})]
    known = [f"?{name}" for name in options if _OPTION.fullmatch(name)]
    return " ".join([call.method, "/".join(parts), *known])


def harmless_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that are kept, by lower-case name; `there` in place of most values."""
    kept = {}
    for name in sorted(map(str.lower, headers)):
        if name in _HEADER_VALUES:
            value = next(value for each, value in headers.items() if each.lower() == name)
            kept[name] = value if _HEADER_VALUES[name].fullmatch(value) else "another"
        elif name in HEADERS:
            kept[name] = "there"
    return kept


def _two_digits(seconds: float) -> int:
    return int(float(f"{seconds * 1000:.2g}"))
