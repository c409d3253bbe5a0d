"""What goes wrong on demand, and what the server counts. Set over HTTP by `control`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

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
]


@dataclass
class RequestFault:
    """Something that happens to requests.

    Args:
        what: see `FaultKind`.
        times: how many requests it strikes; None: every one.
        after: how many requests of that kind it leaves alone first.
        of: the kinds of request that it strikes (names in `routes`); empty: all.
        seconds: for `slow`; it ends earlier if the client goes or other faults are set.
        lasts: seconds on the server's clock from the first request that is struck, after which it heals; None: never.
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
        """Whether this request is struck; counts it."""
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
    """All that can be wrong with the server. The defaults are a healthy one.

    Args:
        disturbances: what happens to single requests.
        token_dies_after: each token is good for that many calls, then 952.
        session_limit: how many sessions may be open; one more gets `session_limit_code` (812 or 956).
        lockout_after: that many wrong passwords lock an account: 214, also with the right one.
        missing_fields: by layout, fields that were taken off it.
        missing_layouts: layouts that are gone: 105.
        records_in_use: by table, record ids that somebody has open: 301 for writing.
        between_pages: `[{"after": n, "do": [action, …]}]`, done when the n-th answer with records is made. An action
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
    between_pages: Sequence[Mapping[str, Any]] = ()

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Become what is wanted; whatever is not named is healthy. Raises TypeError or ValueError, and then
        nothing is changed."""
        fresh = Faults(**{k: v for k, v in wanted.items() if k != "disturbances"})
        fresh.disturbances = [RequestFault(**one) for one in wanted.get("disturbances", [])]
        for step in fresh.between_pages:
            if set(step) != {"after", "do"}:
                raise ValueError("between_pages: each step has `after` and `do`")
        vars(self).update(vars(fresh))

    def striking(self, kind: str, now: datetime) -> list[RequestFault]:
        """The disturbances that strike a request of this kind."""
        return [one for one in self.disturbances if one.strikes(kind, now)]


class Counters:
    """What clients did to the server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.under_way = 0
        self.reset()

    def reset(self) -> None:
        """Begin at zero."""
        with self._lock:
            self.requests: Counter[str] = Counter()
            self.answers: Counter[str] = Counter()
            self.pages = 0
            self.most_under_way = self.under_way

    def begin(self, kind: str) -> None:
        """A request came in."""
        with self._lock:
            self.requests[kind] += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)

    def end(self, code: str) -> None:
        """It was answered, with a FileMaker code or an HTTP status."""
        with self._lock:
            self.answers[code] += 1
            self.under_way -= 1
