"""Download the files of container fields, and check that a response is a file.

The value of a container is a URL that is valid for the session: request with the token → 302 with the cookie
`X-FMS-Session-Key` → request of the same URL with the cookie → the bytes. Some servers do not ask for the token
(AuthenticatedStream=2), some send the bytes at once. Source: Claris FileMaker Data API Guide, "Format of data". The
sequence of redirects is not documented; it is the one that public clients use with real servers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

from fm_pipeline.filemaker.errors import (
    ContainerExpired,
    ContainerNotAFile,
    ContainerRefused,
    DataApiError,
    DownloadsStopped,
    RecordMissing,
)
from fm_pipeline.filemaker.model import LARGEST_FILE
from fm_pipeline.filemaker.transport import FetchedResponse, origin

if TYPE_CHECKING:
    from fm_pipeline.filemaker.data_api.client import DataApiClient

COOKIE: Final = "X-FMS-Session-Key"
MAX_SECONDS: Final = 600.0  # seconds of one download; a session lives 15 minutes without a call
_MAX_RESPONSES = 3  # a redirect, the file, and one more for a proxy in between
_REDIRECTS = {301, 302, 303, 307, 308}
_EXPIRED = {401, 404, 410}
_OVERLOADED = {502, 503, 504}
_PAGE_TYPES = ("text/html", "application/json", "application/xhtml+xml")
_PAGE_STARTS = (b"<!doctype html", b"<html", b'{"messages"', b'{"response"')


@dataclass(frozen=True, slots=True)
class ContainerFile:
    """A complete file (by its Content-Length). Its type must be determined from its bytes."""

    content: bytes = field(repr=False)
    content_type: str


def is_url(value: object) -> bool:
    """Whether the value of a container is a URL. Else it is `""` (empty), or `?` or `<No Access>` (unreadable)."""
    return isinstance(value, str) and value.startswith(("https://", "http://"))


class ContainerDownloads:
    """Downloads files through the session of a client, one at a time, and keeps the session's cookies.

    Args:
        client: logs in, and again when its session has ended.
        limit: maximum size of a file in bytes.
        longest: maximum duration of a download in seconds.
    """

    def __init__(self, client: DataApiClient, *, limit: int = LARGEST_FILE, longest: float = MAX_SECONDS) -> None:
        self._client = client
        self._limit = limit
        self._longest = longest
        self._cookies: dict[str, str] = {}

    def download(self, layout: str, record_id: int, name: str, url: str) -> ContainerFile:
        """Download the file of one container.

        If the URL has expired, the record is read again for a new URL, once.

        Args:
            name: of the field, `image(2)` for a repetition.
            url: the value of the field, just read; never a stored one.

        Raises:
            ContainerElsewhere, ContainerExpired, ContainerRefused, ContainerNotAFile, ContainerTooLarge: see there.
            DownloadsStopped: 502, 503 or 504; wait before the next download.
            ServerUnavailable: no connection, or it broke during the download.
            ServerTimeout: the download took too long.
            RecordMissing: the record has been deleted.
        """
        action = f"send the container {name} of a record on the layout {layout}"
        try:
            return self._follow_redirects(url, action)
        except ContainerExpired:
            self._cookies.clear()
            record = self._client.record(layout, record_id)
            if record is None:
                raise RecordMissing(f"The record {record_id} of the layout {layout} is gone.", code=101) from None
            fresh = record.fields.get(name)
            if not is_url(fresh):
                raise ContainerRefused(f"The container has no file any more when asked to {action}.") from None
            return self._follow_redirects(str(fresh), action)

    def _follow_redirects(self, url: str, action: str) -> ContainerFile:
        place = url
        for _ in range(_MAX_RESPONSES):
            cookie = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            got = self._client.fetch(place, action, cookie=cookie, limit=self._limit, longest=self._longest)
            if got.status == 200:
                return _file(got, action)
            if got.status not in _REDIRECTS:
                raise _download_error(got.status, action)
            self._cookies |= got.cookies  # also those by which a proxy finds the node of the session
            if COOKIE not in self._cookies:  # without it the next response would be a 401
                raise ContainerExpired(f"The redirect came without a cookie when asked to {action}.")
            # Behind a proxy the server may use another name for itself; the original URL works with the cookie too.
            there = urljoin(place, got.headers.get("Location", ""))
            place = there if origin(there) == origin(url) else url
        raise ContainerExpired(f"One redirect led to the next when asked to {action}.")


def _file(got: FetchedResponse, action: str) -> ContainerFile:
    kind = got.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in _PAGE_TYPES or got.body[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGE_STARTS):
        raise ContainerNotAFile(f"There came a page or JSON and no file when asked to {action}.")
    return ContainerFile(got.body, kind)


def _download_error(status: int, action: str) -> DataApiError:
    what = f"FileMaker Server answered HTTP {status} when asked to {action}."
    if status in _EXPIRED:
        return ContainerExpired(what)
    return DownloadsStopped(what) if status in _OVERLOADED else ContainerRefused(what)
