"""A polite client of the FileMaker Data API: one session, one request at a time, TLS always verified.

Source: Claris, FileMaker Data API Guide. What the guide leaves open, the code says where it decides.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from fm_pipeline.errors import FileMakerError
from fm_pipeline.filemaker.errors import (
    NoRecordsMatch,
    NotTheDataApi,
    RecordMissing,
    RequestRefused,
    ServerTooOld,
    error_for,
)
from fm_pipeline.filemaker.model import Field, Page, Record, Value
from fm_pipeline.filemaker.transport import ATTEMPTS, Answer, Call, FetchedResponse, Transport

Query = Sequence[Mapping[str, str]]
"""Requests of a find: fields of one are ANDed, requests are ORed."""

_log = logging.getLogger(__name__)

INVALID_TOKEN = 952
WINDOW_MISSING = 112
PARAMETER_REFUSED = 960
_TOKEN = re.compile(r"[!-~]{1,4096}")  # what a header may hold
_MOST_REPETITIONS = 32_000  # of a field: FileMaker Pro, "Setting up repeating fields"


class DataApiClient:
    """One FileMaker file over the Data API. Use it in a `with` block, so that the session is logged out.

    Dates come in ISO form where the server can (`date_format` tells), else as `MM/DD/YYYY`.

    Args:
        base_url: `https://host`; plain http only for this machine.
        database: the file's name without `.fmp12`, in the server's letter case.
        username, password: an account with the extended privilege `fmrest`.
        ca_bundle: PEM file of the authority that signed the server's certificate; None for the public ones.
        timeout: seconds that an answer may take.
        sleep: waits between repeats while the server does not answer.

    Raises:
        SettingsError: the URL is not safe, or the bundle is not there.
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
    ) -> None:
        self._transport = Transport(base_url, ca_bundle=ca_bundle, timeout=timeout, sleep=sleep)
        self._database = database
        self._credentials = (username, password)
        self._token: str | None = None
        self._lock = threading.RLock()
        self.date_format: Literal["iso", "us"] | None = None  # None until the server was asked
        self.source = f"{base_url}/{database}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out and close the connection. A session that is gone already, or stays, is no error.

        What was read or written is done, whatever becomes of the session; FileMaker Server ends it after 15 idle
        minutes (Data API Guide, "Log out of a database session").
        """
        with self._lock:
            token, self._token = self._token, None
            try:
                if token is not None:
                    path = f"{self._database_path()}/sessions/{quote(token, safe='')}"
                    self._transport.send(Call("DELETE", path, "log out"), attempts=1)
            except FileMakerError as error:
                _log.warning("The session was not ended; FileMaker Server does it by itself. %s", error.what)
            finally:
                self._transport.close()

    # -- what the server is and has

    def product_info(self) -> dict[str, str]:
        """Name, version and date formats of the server. Needs no account."""
        call = Call("GET", "productInfo", "tell its version")
        with self._lock:
            answer = self._transport.send(call)
        if answer.code:
            raise error_for(answer.code, call.action)
        with _raise_if_malformed(call.action):
            return {str(key): str(value) for key, value in answer.response.get("productInfo", {}).items()}

    def layouts(self) -> list[str]:
        """Names of all layouts, those in folders too, in the server's order."""
        answer = self._send("GET", "layouts", "list its layouts")
        with _raise_if_malformed("list its layouts"):
            return list(_layout_names(answer.response.get("layouts", [])))

    def layout_fields(self, layout: str) -> list[Field]:
        """The fields that stand on a layout, without those in portals."""
        action = f"describe the layout {layout}"
        answer = self._send("GET", _layout_path(layout), action)
        with _raise_if_malformed(action):
            return [_field(described) for described in answer.response.get("fieldMetaData", [])]

    # -- reading

    def page(self, layout: str, offset: int, limit: int) -> Page:
        """Records of a layout in creation order, without portals.

        Args:
            offset: of the first one, counted from 1.
            limit: how many at most.

        Raises:
            RecordMissing: the offset lies behind the last record, also in an empty table.
            ServerTimeout, AnswerTooLarge: ask for fewer; nothing is repeated here.
        """
        answer = self._read(
            "GET",
            f"{_layout_path(layout)}/records",
            f"read the layout {layout}",
            params={"_offset": offset, "_limit": limit, "portal": "[]"},
        )
        return _page(answer, layout)

    def record(self, layout: str, record_id: int) -> Record | None:
        """One record; None when it does not exist (any more)."""
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
        """One page of a find; an empty page when nothing matches.

        Args:
            query: see `Query`; operators as in FileMaker, `==x` for a whole field; `"omit": "true"` subtracts.
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
        """Write some fields of a record; dates as `MM/DD/YYYY`.

        Args:
            layout: one that shows all the fields.
            record_id: FileMaker's.
            fields: new values; `""` empties a field.
            mod_id: the modification that the caller has seen; None lets the last writer win.

        Returns:
            The new modification id.

        Raises:
            RecordChanged: the record has another modification id; nothing was written.
        """
        body: dict[str, Any] = {"fieldData": dict(fields)}
        if mod_id is not None:
            body["modId"] = str(mod_id)
        path, action = f"{_layout_path(layout)}/records/{record_id}", f"edit a record on the layout {layout}"
        # With a modification id, a repeat after an unseen success would meet its own edit as a stranger's.
        answer = self._send("PATCH", path, action, body=body, repeatable=mod_id is None)
        with _raise_if_malformed(action):
            return int(answer.response["modId"])

    # -- files of containers

    def fetch(self, url: str, action: str, *, cookie: str, limit: int, longest: float) -> FetchedResponse:
        """One GET of a container's URL with the session's token, for `containers.Containers`.

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
        """Read records with ISO dates; servers before FileMaker Server 2023 refuse the parameter (960)."""

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
            answer = send({})  # refused again: something else in the request is wrong
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
        """Send a call below the database, logged in; log in anew once when the session has ended."""
        call = Call(method, f"{self._database_path()}/{path}", action, params, body)
        attempts = ATTEMPTS if repeatable else 1
        with self._lock:
            answer = self._transport.send(call, token=self._log_in(), attempts=attempts)
            # Under 952 nothing was done. Under 112 the session was closed during the call: perhaps it was.
            if answer.code == INVALID_TOKEN or (answer.code == WINDOW_MISSING and repeatable):
                self._token = None
                answer = self._transport.send(call, token=self._log_in(), attempts=attempts)
        if answer.code:
            raise error_for(answer.code, action)
        return answer

    def _log_in(self) -> str:
        """The token of the session, which is made now if there is none."""
        if self._token is None:
            call = Call("POST", f"{self._database_path()}/sessions", f"log in to {self._database}", body={})
            answer = self._transport.send(call, account=self._credentials)
            token = answer.response.get("token") or answer.token  # FileMaker Cloud has the header only
            if answer.code:
                raise error_for(answer.code, call.action)
            if not isinstance(token, str) or not _TOKEN.fullmatch(token):
                raise NotTheDataApi(f"The answer has no token of a session when asked to {call.action}.")
            self._token = token
        return self._token

    def _database_path(self) -> str:
        return f"databases/{quote(self._database, safe='')}"


@contextmanager
def _raise_if_malformed(action: str) -> Iterator[None]:
    """What is read in the block is as the Data API has it.

    Raises:
        NotTheDataApi: it is not.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        raise NotTheDataApi(f"The answer is not the Data API's when asked to {action}.") from None


def _layout_path(layout: str) -> str:
    return f"layouts/{quote(layout, safe='')}"


def _layout_names(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        if entry.get("isFolder"):
            yield from _layout_names(entry.get("folderLayoutNames", []))
        else:
            yield str(entry["name"])


def _field(described: Mapping[str, Any]) -> Field:
    first = described.get("repetitionStart", 1)
    last = described.get("repetitionEnd", described.get("repetitions", 1))  # servers have either name
    repetitions = range(int(first), int(last) + 1)
    if len(repetitions) > _MOST_REPETITIONS:
        raise ValueError
    return Field(
        name=str(described["name"]),
        kind=str(described.get("type", "normal")),
        result=str(described.get("result", "text")),
        repetitions=tuple(repetitions),
    )


def _page(answer: Answer, layout: str) -> Page:
    with _raise_if_malformed(f"read the layout {layout}"):
        try:
            found = int(answer.response["dataInfo"]["foundCount"])
        except KeyError:
            raise ServerTooOld(f"The answer for the layout {layout} has no found count.") from None
        return Page(_records(answer), found)


def _records(answer: Answer) -> tuple[Record, ...]:
    return tuple(
        Record(
            int(row["recordId"]),
            int(row["modId"]),
            {name: _value(value) for name, value in row["fieldData"].items()},
        )
        for row in answer.response.get("data", [])
    )


def _value(value: object) -> Value:
    """FileMaker sends text and numbers; null and booleans of odd servers become what it would have sent."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | int | float):
        return value
    return "" if value is None else json.dumps(value)
