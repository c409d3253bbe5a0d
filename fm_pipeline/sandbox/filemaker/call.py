"""One request, and the parts of the server that it uses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fm_pipeline.sandbox.filemaker.data import container_files
from fm_pipeline.sandbox.filemaker.data.schema import LayoutDefinition
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.filemaker.faults.faults import Counters, Faults, RequestFault
from fm_pipeline.sandbox.filemaker.responses import ApiError
from fm_pipeline.sandbox.filemaker.sessions import Clock, Session, Sessions


@dataclass(frozen=True)
class ODataBehaviour:
    """What differs between OData services, or is not documented.

    Args:
        encoded_options: how an option is taken that is written `%24top` in place of `$top`: `ignore` answers as if it
            were not there, as field reports say; `refuse` answers -1002.
        long_names: control names are always `@odata.count` and the like; otherwise as the request's version asks.
        answers_count: `/$count` is answered; otherwise 400.
        relative_links: next links have no server and no path of the service.
        links_by: a next link goes on after the last row (`position`) or leaves out so many rows (`skip`).
        page_limit: the most rows of an answer. A test may set it lower.
        takes_bare_names: a table whose name is no plain word can be named without quotation marks; otherwise 404.
        empty_container: the HTTP status of `/$value` of an empty container: 204, 200 or 404.
        update_returns_row: a PATCH without `Prefer` is answered with the row; otherwise with 204.
    """

    encoded_options: Literal["read", "ignore", "refuse"] = "ignore"
    long_names: bool = False
    answers_count: bool = True
    relative_links: bool = False
    links_by: Literal["skip", "position"] = "skip"
    page_limit: int = 10_000
    takes_bare_names: bool = True
    empty_container: int = 204
    update_returns_row: bool = False


@dataclass(frozen=True)
class Behaviour:
    """Behaviour in which FileMaker Servers differ, or that is not documented.

    Args:
        version: major version: 17 has no `dataInfo`; 19 added `validateSession`, 20 `dateformats` for reading and 21
            for writing; earlier ones answer 960.
        login_needs_body: an empty body at login is refused; real servers differ.
        finds_fields_off_layout: a find may name a field of the table that is not on the layout; otherwise 102.
        no_fmrest_code: 9 or 212, the answer to an account without the extended privilege.
        authenticated_stream: the server preference of that name: 1 (the default since 19.3.2) requires the token for
            the cookie of a container, 2 does not.
        redirects_streams: if False, the first request already gets the container's file, as from some servers.
        passes_slashes: if False, the web server answers a path with `%2F` itself, with 404.
        odata: of the OData service.
    """

    version: int = 21
    login_needs_body: bool = False
    finds_fields_off_layout: bool = True
    no_fmrest_code: int = 9
    authenticated_stream: int = 1
    redirects_streams: bool = True
    passes_slashes: bool = True
    odata: ODataBehaviour = field(default_factory=ODataBehaviour)


class Engine:
    """The state of the server, shared by all requests."""

    def __init__(self, store: Store, behaviour: Behaviour | None = None) -> None:
        self.store = store
        self.behaviour = behaviour or Behaviour()
        self.clock = Clock()
        self.faults = Faults()
        self.counters = Counters()
        self.sessions = Sessions(self.clock, self.faults)

    def striking(self, kind: str) -> list[RequestFault]:
        """Return the faults that apply to a request of this kind."""
        return self.faults.striking(kind, self.clock.now())


@dataclass
class ApiCall:
    """A request after its URL was parsed.

    Args:
        path: the parts of the URL by name (`database`, `layout`, `record`, …).
        query: the parameters after the `?`.
        headers: by lower-case name.
        base_url: as the client wrote it, for URLs of containers.
    """

    engine: Engine
    version: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw_body: bytes
    session: Session | None = None
    base_url: str = ""
    _body: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def database(self) -> str:
        """The file that the URL names."""
        return self.path["database"]

    @property
    def account_no_access(self) -> Mapping[str, Sequence[str]]:
        """By table, the fields that the account may not see."""
        return self.session.account.no_access if self.session else {}

    def body(self) -> dict[str, Any]:
        """Return the JSON object of the body. Raises ApiError 1705 (no JSON announced), 1710 or 960 (no JSON)."""
        if self._body is None:
            if self.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise ApiError(1705)
            try:
                parsed = json.loads(self.raw_body.decode("utf-8"))
            except ValueError:
                raise ApiError(1710) from None
            if not isinstance(parsed, dict):
                raise ApiError(960)
            self._body = parsed
        return self._body

    def container_value(self, text: str) -> str:
        """Return the value of a container: the URL of its file, valid in this session; other texts unchanged."""
        if self.session is None or not container_files.is_key(text):
            return text
        with self.engine.store.reading() as db:
            file = container_files.read(db, text)
        return self.session.container_url(self.base_url, text, file)

    def layout(self, name: str | None = None) -> LayoutDefinition:
        """Return the layout that the URL (or `name`) names, without fields that faults remove. Raises ApiError 105."""
        faults = self.engine.faults
        found = self.engine.store.layout(self.database, name or self.path["layout"])
        if found is None or found.name in faults.missing_layouts:
            raise ApiError(105)
        gone = faults.missing_fields.get(found.name, ())
        return replace(found, fields=[f for f in found.fields if f not in gone]) if gone else found

    def dateformat(self, given: object) -> int:
        """Return the value of `dateformats`. Raises ApiError 960 for anything but 0, 1, 2."""
        if given is None:
            return 0
        if isinstance(given, bool) or str(given) not in ("0", "1", "2"):
            raise ApiError(960)
        return int(str(given))


def check_names(names: Sequence[str], allowed: Sequence[str], prefixes: Sequence[str] = ()) -> None:
    """Raise ApiError 960 if there are unknown parameters; lists them."""
    unknown = [n for n in names if n not in allowed and not n.startswith(tuple(prefixes))]
    if unknown:
        raise ApiError(960, f"Unknown parameter(s): {', '.join(unknown)}")


def positive(given: object, default: int) -> int:
    """Parse a positive integer, as JSON number or as text. Raises ApiError 960."""
    if given is None:
        return default
    if isinstance(given, bool) or not re.fullmatch(r"[0-9]{1,12}", str(given)) or int(str(given)) < 1:
        raise ApiError(960)
    return int(str(given))
