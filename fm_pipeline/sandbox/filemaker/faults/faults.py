"""Faults of the server, which tests set over HTTP (`control`), and its counters."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from fm_pipeline.sandbox.filemaker.faults import broken_json

FaultKind = Literal[
    "unauthorized",  # 401, a page of the web server in HTML
    "bad_gateway",  # 502, a page of the web server in HTML
    "service_unavailable",  # 503, the same
    "gateway_timeout",  # 504, the same
    "slow",  # the answer comes `seconds` late
    "cut",  # the connection ends in the middle of the body, which was announced whole
    "half",  # half a body, announced as if it were all
    "wrong_content",  # 200 with HTML where JSON should be
    "not_json",  # 200, called JSON, but broken: an unquoted `?`
    "code",  # FileMaker's error `code`
    "error_in_row",  # OData: 200, but the last row of the page is an error
    "fewer_rows",  # OData: 200, but the second half of the page is missing, without any sign
]


@dataclass
class RequestFault:
    """A fault of single requests.

    Args:
        what: see `FaultKind`.
        times: number of requests that it applies to; None for all.
        after: number of requests of that kind that it skips first.
        of: the kinds of request that it applies to (names in `routes`); empty for all.
        seconds: for `slow`; it ends earlier if the client disconnects or other faults are set.
        lasts: seconds on the server's clock, from its first request, after which it ends; None for never.
        code: for `code`.
    """

    what: FaultKind
    times: int | None = 1
    after: int = 0
    of: Sequence[str] = ()
    seconds: float = 0
    code: int = 951
    lasts: float | None = None
    since: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.what not in get_args(FaultKind):
            raise ValueError(f"what: {self.what!r} is none of {', '.join(get_args(FaultKind))}")

    def strikes(self, kind: str, now: datetime) -> bool:
        """Return whether it applies to this request; counts the request."""
        if (self.of and kind not in self.of) or self.times == 0:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.since = self.since or now
        if self.lasts is not None and now - self.since >= timedelta(seconds=self.lasts):
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class Faults:
    """All faults of the server; by default none.

    Args:
        disturbances: faults of single requests.
        token_dies_after: each token is valid for that many calls, then 952.
        session_limit: how many sessions may be open; one more gets `session_limit_code` (812 or 956).
        lockout_after: that many wrong passwords lock an account: 214, also with the right one.
        missing_fields: by layout, fields that are removed from it.
        missing_layouts: layouts that do not exist: 105.
        records_in_use: by table, ids of records that another user has open: 301 for writing.
        hidden_records: by table, ids of records that are neither shown nor counted, as with record-level privileges;
            only the Data API's `totalRecordCount` counts them.
        broken_values: `[{"table", "record_id", "field", "as", "door"}]`: values that make the answer's JSON invalid,
            every time (see `broken_json.KINDS`). `door` is `data_api` or `odata`; without it both.
        between_pages: `[{"after": n, "do": [action, …]}]`, run when the n-th answer with records is made. An action
            is `{"insert": {"table", "row"}}`, `{"delete": {"table", "record_id"}}` or
            `{"edit": {"table", "record_id", "row"}}`.
    """

    disturbances: list[RequestFault] = field(default_factory=list)
    token_dies_after: int | None = None
    session_limit: int | None = None
    session_limit_code: int = 812
    lockout_after: int | None = None
    missing_fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    missing_layouts: Sequence[str] = ()
    records_in_use: Mapping[str, Sequence[int]] = field(default_factory=dict)
    hidden_records: Mapping[str, Sequence[int]] = field(default_factory=dict)
    broken_values: Sequence[Mapping[str, Any]] = ()
    between_pages: Sequence[Mapping[str, Any]] = ()

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Replace all faults by these. Raises TypeError or ValueError, and then changes nothing."""
        fresh = Faults(**{k: v for k, v in wanted.items() if k != "disturbances"})
        fresh.disturbances = [RequestFault(**one) for one in wanted.get("disturbances", [])]
        for step in fresh.between_pages:
            if set(step) != {"after", "do"}:
                raise ValueError("between_pages: each step has `after` and `do`")
        broken_json.check(fresh.broken_values)
        vars(self).update(vars(fresh))

    def striking(self, kind: str, now: datetime) -> list[RequestFault]:
        """Return the faults that apply to a request of this kind."""
        return [one for one in self.disturbances if one.strikes(kind, now)]


class Counters:
    """Counts requests and answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.under_way = 0
        self.reset()

    def reset(self) -> None:
        """Set all counts to zero."""
        with self._lock:
            self.requests: Counter[str] = Counter()
            self.answers: Counter[str] = Counter()
            self.pages = 0
            self.most_under_way = self.under_way

    def begin(self, kind: str) -> None:
        """Count a request."""
        with self._lock:
            self.requests[kind] += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)

    def end(self, code: str) -> None:
        """Count its answer, by FileMaker code or HTTP status."""
        with self._lock:
            self.answers[code] += 1
            self.under_way -= 1
