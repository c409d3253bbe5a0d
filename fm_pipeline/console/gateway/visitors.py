"""Who asks at the gateway, and the short memory that spares a query for each of the hundred files of a page."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection

REMEMBERED_SECONDS = 2.0  # a page of Dagster loads its files within one or two seconds
MOST_REMEMBERED = 1000


@dataclass(frozen=True)
class Visitor:
    """Who asks.

    Attributes:
        role: `viewer` or `admin`; empty for a token whose scope does not reach to Dagster.
        by_token: by a token in a header, which no other site's page can send.
    """

    username: str
    role: str
    by_token: bool = False


FindVisitor = Callable[[HTTPConnection], Awaitable[Visitor | None]]


class RecentVisitors:
    """Finds a visitor, and answers the same for two seconds. For Dagster's own scripts and pictures only.

    Args:
        find: asks the database.
    """

    def __init__(self, find: FindVisitor) -> None:
        self._find = find
        self._remembered: dict[tuple[str, str], tuple[float, Visitor | None]] = {}

    async def __call__(self, connection: HTTPConnection) -> Visitor | None:
        key = (connection.headers.get("cookie", ""), connection.headers.get("authorization", ""))
        until, visitor = self._remembered.get(key, (0.0, None))
        if until > time.monotonic():
            return visitor
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        visitor = await self._find(connection)
        self._remembered[key] = (time.monotonic() + REMEMBERED_SECONDS, visitor)
        return visitor
