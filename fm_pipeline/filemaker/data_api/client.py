"""A client of the FileMaker Data API: one session, one request at a time, TLS always verified.

Source: Claris, FileMaker Data API Guide. Where the guide leaves something open, a comment says what was decided.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from fm_pipeline.errors import FileMakerError
from fm_pipeline.filemaker.data_api.answer import Answer, read_answer
from fm_pipeline.filemaker.errors import (
    NoRecordsMatch,
    NotTheDataApi,
    RecordMissing,
    RequestRefused,
    ServerTooOld,
    SlashRefused,
    error_for,
)
from fm_pipeline.filemaker.model import MOST_REPETITIONS, Field, FileMakerRecord, Page, Value
from fm_pipeline.filemaker.transport import ATTEMPTS, Call, FetchedResponse, Transport, basic, bearer

Query = Sequence[Mapping[str, str]]
"""The requests of a find. Fields of one request are combined by AND, requests by OR."""

_log = logging.getLogger(__name__)

_API = "fmi/data/vLatest"
INVALID_TOKEN = 952
WINDOW_MISSING = 112
PARAMETER_REFUSED = 960
_NO_SUCH_URL = (1630, 1700)  # a slash in a name, which the web server has decoded, gives the URL one part too many
_TOKEN = re.compile(r"[!-~]{1,4096}")  # characters that a header may contain


class DataApiClient:
    """A FileMaker file over the Data API. Use it in a `with` block, so that the session is logged out.

    Dates are in ISO format if the server supports it (see `date_format`), otherwise `MM/DD/YYYY`.

    Args:
        base_url: `https://host`; plain http only for this machine.
        database: the file's name without `.fmp12`, in the server's letter case.
        username, password: an account with the extended privilege `fmrest`.
        ca_bundle: PEM file of the authority that signed the server's certificate; None for the public ones.
        timeout: seconds to wait for an answer.
        sleep: waits between attempts while the server does not answer.
        transport: takes the place of the one that is made from the address; closed with the client.

    Raises:
        SettingsError: the URL is not safe, or the bundle does not exist.
        FileMakerError: from every method but `close`; its leaves say what to do.
    """

    def __init__(
        self,
        base_url: str,
        database: str,
        username: str,
        password: str,
        *,
        ca_bundle: Path | None = None,
        timeout: float = 90,
        sleep: Callable[[float], None] = time.sleep,
        transport: Transport | None = None,
    ) -> None:
        self._transport = transport or Transport(base_url, ca_bundle=ca_bundle, timeout=timeout, sleep=sleep)
        self._database = database
        self._credentials = (username, password)
        self._token: str | None = None
        self._lock = threading.RLock()
        self.date_format: Literal["iso", "us"] | None = None  # None before the first request
        self.source = f"{base_url}/{database}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out and close the connection. A failed logout is not an error.

        FileMaker Server ends an idle session after 15 minutes (Data API Guide, "Log out of a database session").
        """
        with self._lock:
            token, self._token = self._token, None
            try:
                if token is not None:
                    path = f"{self._database_path()}/sessions/{quote(token, safe='')}"
                    self._transmit(Call("DELETE", path, "log out"), attempts=1)
            except FileMakerError as error:
                _log.warning("The session was not ended; FileMaker Server does it by itself. %s", error.what)
            finally:
                self._transport.close()

    # -- server and layouts

    def product_info(self) -> dict[str, str]:
        """Return name, version and date formats of the server. Needs no account."""
        call = Call("GET", f"{_API}/productInfo", "tell its version")
        with self._lock:
            answer = self._transmit(call)
        if answer.code:
            raise error_for(answer.code, call.action)
        with _raise_if_malformed(call.action):
            return {str(key): str(value) for key, value in answer.response.get("productInfo", {}).items()}

    def layouts(self) -> list[str]:
        """Return the names of all layouts, also of those in folders, in the order of the server."""
        answer = self._send("GET", "layouts", "list its layouts")
        with _raise_if_malformed("list its layouts"):
            return list(_layout_names(answer.response.get("layouts", [])))

    def layout_fields(self, layout: str) -> list[Field]:
        """Return the fields on a layout, without those in portals."""
        action = f"describe the layout {layout}"
        answer = self._send("GET", _layout_path(layout), action)
        with _raise_if_malformed(action):
            return fields_in(answer.response.get("fieldMetaData", []))

    # -- reading

    def page(self, layout: str, offset: int, limit: int) -> Page:
        """Return records of a layout in creation order, without portals. A server may say 401 of an empty table.

        Args:
            offset: of the first record, counted from 1.
            limit: how many at most.

        Raises:
            RecordMissing: the offset is beyond the last record, as always in an empty table.
            ServerTimeout, AnswerTooLarge: ask for fewer records; this call is not repeated.
        """
        path, action = f"{_layout_path(layout)}/records", f"read the layout {layout}"
        try:
            answer = self._read("GET", path, action, params={"_offset": offset, "_limit": limit, "portal": "[]"})
        except NoRecordsMatch:
            return Page((), 0)
        return _page(answer, layout)

    def record(self, layout: str, record_id: int) -> FileMakerRecord | None:
        """Return one record; None if it does not exist."""
        try:
            answer = self._read(
                "GET",
                f"{_layout_path(layout)}/records/{record_id}",
                f"read a record on the layout {layout}",
                params={"portal": "[]"},
            )
        except RecordMissing:
            return None
        with _raise_if_malformed(f"read a record on the layout {layout}"):
            return _records(answer)[0]

    def find(
        self,
        layout: str,
        query: Query,
        *,
        offset: int = 1,
        limit: int = 100,
        sort: Sequence[Mapping[str, str]] = (),
    ) -> Page:
        """Return one page of a find; an empty page if nothing matches.

        Args:
            query: see `Query`; operators as in FileMaker, `==x` matches the whole field; `"omit": "true"` excludes.
            offset: of the first record, counted from 1.
            limit: how many at most.
            sort: `{"fieldName": …, "sortOrder": "ascend" | "descend"}` each.
        """
        body: dict[str, Any] = {"query": [dict(request) for request in query], "portal": []}
        body |= {"offset": str(offset), "limit": str(limit)}
        if sort:
            body["sort"] = [dict(key) for key in sort]
        path = f"{_layout_path(layout)}/_find"
        try:
            answer = self._read("POST", path, f"find records on the layout {layout}", body=body)
        except (NoRecordsMatch, RecordMissing):
            return Page((), 0)
        return _page(answer, layout)

    # -- writing

    def edit(self, layout: str, record_id: int, fields: Mapping[str, Value], mod_id: int | None = None) -> int:
        """Write fields of a record; dates as `MM/DD/YYYY`.

        Args:
            layout: a layout with all the fields.
            record_id: FileMaker's.
            fields: new values; `""` empties a field.
            mod_id: the modification id that the caller has read; None overwrites later edits.

        Returns:
            The new modification id.

        Raises:
            RecordChanged: the record was edited since; nothing was written.
        """
        body: dict[str, Any] = {"fieldData": dict(fields)}
        if mod_id is not None:
            body["modId"] = str(mod_id)
        path, action = f"{_layout_path(layout)}/records/{record_id}", f"edit a record on the layout {layout}"
        # A retry with a modification id would fail on its own edit, if the answer to the first attempt was lost.
        answer = self._send("PATCH", path, action, body=body, repeatable=mod_id is None)
        with _raise_if_malformed(action):
            return int(answer.response["modId"])

    # -- files of containers

    def fetch(self, url: str, action: str, *, cookie: str, limit: int | None, longest: float) -> FetchedResponse:
        """One GET of a container's URL with the session's token, for `containers.ContainerDownloads`.

        The arguments and errors are those of `Transport.fetch`. Whether it prolongs the session nobody documents.
        """
        with self._lock:
            token = self._log_in()
            return self._transport.fetch(url, action, token=token, cookie=cookie, limit=limit, longest=longest)

    # -- session and calls

    def _read(
        self,
        method: str,
        path: str,
        action: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Read records with ISO dates. Servers before FileMaker Server 2023 refuse the parameter (code 960)."""

        def send(dates: dict[str, str | int]) -> Answer:
            if body is None:
                return self._send(method, path, action, params={**(params or {}), **dates})
            return self._send(method, path, action, body={**body, **dates})

        if self.date_format == "us":
            return send({})
        try:
            answer = send({"dateformats": 2})
        except RequestRefused as refusal:
            if refusal.code != PARAMETER_REFUSED or self.date_format == "iso":
                raise
            answer = send({})  # if this is refused too, something else in the request is wrong
            self.date_format = "us"
            return answer
        self.date_format = "iso"
        return answer

    def _send(
        self,
        method: str,
        path: str,
        action: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """Send a call to the database with the session's token; log in again once if the session has ended."""
        call = Call(method, f"{self._database_path()}/{path}", action, params, body)
        attempts = ATTEMPTS if repeatable else 1
        with self._lock, _explain_slash(path, action):
            answer = self._transmit(call, bearer(self._log_in()), attempts)
            # With 952 nothing was done. With 112 the session was closed during the call, which may have been done.
            if answer.code == INVALID_TOKEN or (answer.code == WINDOW_MISSING and repeatable):
                self._token = None
                answer = self._transmit(call, bearer(self._log_in()), attempts)
            if answer.code:
                raise error_for(answer.code, action)
        return answer

    def _log_in(self) -> str:
        """Return the token of the session; log in if there is none."""
        if self._token is None:
            call = Call("POST", f"{self._database_path()}/sessions", f"log in to {self._database}", body={})
            answer = self._transmit(call, basic(*self._credentials))
            token = answer.response.get("token") or answer.token  # FileMaker Cloud sends it in the header only
            if answer.code:
                raise error_for(answer.code, call.action)
            if not isinstance(token, str) or not _TOKEN.fullmatch(token):
                raise NotTheDataApi(f"The answer has no token of a session when asked to {call.action}.")
            self._token = token
        return self._token

    def _database_path(self) -> str:
        return f"{_API}/databases/{quote(self._database, safe='')}"

    def _transmit(self, call: Call, headers: Mapping[str, str] | None = None, attempts: int = ATTEMPTS) -> Answer:
        return self._transport.send(call, partial(read_answer, action=call.action), headers=headers, attempts=attempts)


@contextmanager
def _raise_if_malformed(action: str) -> Iterator[None]:
    """Translate errors of reading a malformed answer.

    Raises:
        NotTheDataApi: the answer does not have the form of the Data API.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        raise NotTheDataApi(f"The answer is not the Data API's when asked to {action}.") from None


@contextmanager
def _explain_slash(path: str, action: str) -> Iterator[None]:
    """Say why a page came in place of an answer: the web server of many FileMaker Servers refuses `%2F` in a path."""
    try:
        yield
    except (NotTheDataApi, RequestRefused) as error:
        if "%2F" not in path or error.code not in {None, *_NO_SUCH_URL}:
            raise
        raise SlashRefused(
            f"FileMaker's web server does not pass on a name with a slash when asked to {action}."
        ) from None


def _layout_path(layout: str) -> str:
    return f"layouts/{quote(layout, safe='')}"


def _layout_names(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        if entry.get("isFolder"):
            yield from _layout_names(entry.get("folderLayoutNames", []))
        else:
            yield str(entry["name"])


def fields_in(described: Sequence[Mapping[str, Any]]) -> list[Field]:
    """Return the described fields, each once: one may be placed several times, also with other repetitions."""
    fields: dict[str, Field] = {}
    for field in map(_field, described):
        before = fields.get(field.name, field)
        both = tuple(sorted({*before.repetitions, *field.repetitions}))
        fields[field.name] = replace(before, repetitions=both)
    return list(fields.values())


def _field(described: Mapping[str, Any]) -> Field:
    first = described.get("repetitionStart", 1)
    last = described.get("repetitionEnd", described.get("repetitions", 1))  # depends on the version of the server
    repetitions = range(int(first), int(last) + 1)
    if len(repetitions) > MOST_REPETITIONS:
        raise ValueError
    return Field(
        name=str(described["name"]),
        kind=str(described.get("type", "normal")),
        result=str(described.get("result", "text")),
        repetitions=tuple(repetitions),
        most_repetitions=int(described.get("maxRepeat", 1)),
    )


def _page(answer: Answer, layout: str) -> Page:
    with _raise_if_malformed(f"read the layout {layout}"):
        try:
            info = answer.response["dataInfo"]
            found, in_table = int(info["foundCount"]), info.get("totalRecordCount")
        except KeyError:
            raise ServerTooOld(f"The answer for the layout {layout} has no found count.") from None
        return Page(_records(answer), found, None if in_table is None else int(in_table))


def _records(answer: Answer) -> tuple[FileMakerRecord, ...]:
    return tuple(
        FileMakerRecord(
            int(row["recordId"]),
            int(row["modId"]),
            {name: v if type(v) is str else _value(v) for name, v in row["fieldData"].items()},
        )
        for row in answer.response.get("data", [])
    )


def _value(value: object) -> Value:
    """Return text or a number, which is what FileMaker sends; null and booleans of other servers are converted."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | int | float):
        return value
    return "" if value is None else json.dumps(value)
