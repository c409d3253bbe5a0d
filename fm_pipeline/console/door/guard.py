"""What is asked of every request before it reaches Dagster's web server; refused here, whatever the role:

- no session: to the login (pages) or 401; a websocket is refused before it is accepted
- GraphQL: POST only, of exactly `application/json`, from our own pages (`Origin` is our host); no GraphiQL
- routes that are not listed: 404. A route that a new Dagster adds stays closed until somebody has read it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fm_pipeline.console.door.context import ROLE, USER

PREFIX = "/dagster"
# Below the prefix. What is open for reading; the page itself answers every other path.
_NAMES = r"favicon[\w.-]*|manifest\.json|robots\.txt|Dagster_world\.mp4"
_FILES = re.compile(rf"/(?:_next/.+|vendor/(?!graphiql)[^?]+|{_NAMES})")
_CLOSED = re.compile(r"/(?:report_asset_\w+|notebook|dagit\w*|vendor/graphiql)(?:/|$)")
_DOWNLOADS = re.compile(r"/(?:logs|download_debug)/.+")
SESSION_CHECK_SECONDS = 5.0

Message = MutableMapping[str, Any]


@dataclass(frozen=True)
class Visitor:
    """Who asks.

    Attributes:
        role: `viewer` or `admin`.
    """

    username: str
    role: str


FindVisitor = Callable[[HTTPConnection], Awaitable[Visitor | None]]


class Guard:
    """An ASGI application in front of Dagster's.

    Args:
        dagster: the application that is guarded; it holds the prefix itself.
        find_visitor: who a request is from, by its session.
    """

    def __init__(self, dagster: ASGIApp, find_visitor: FindVisitor) -> None:
        self._dagster = dagster
        self._find_visitor = find_visitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._dagster(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        visitor = await self._find_visitor(connection)
        if scope["type"] == "websocket":
            await self._websocket(visitor, connection, scope, receive, send)
            return
        refusal = _refusal(connection, visitor)
        if refusal is not None or visitor is None:
            await (refusal or _login(connection))(scope, receive, send)
            return
        await self._dagster(_known(scope, visitor), receive, send)

    async def _websocket(
        self, visitor: Visitor | None, connection: HTTPConnection, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Refuse before accepting; end the connection when the session has ended."""
        if visitor is None or scope["path"] != f"{PREFIX}/graphql" or not same_origin(connection):
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        served = asyncio.ensure_future(self._dagster(_known(scope, visitor), receive, send))
        while not served.done():
            await asyncio.wait({served}, timeout=SESSION_CHECK_SECONDS)
            if not served.done() and await self._find_visitor(connection) != visitor:
                served.cancel()
                await asyncio.gather(served, return_exceptions=True)
                await send({"type": "websocket.close", "code": 1008})
                return
        await served


def same_origin(connection: HTTPConnection) -> bool:
    """Return whether the request comes from a page of ours: browsers send `Origin` with a POST and a websocket."""
    origin = connection.headers.get("origin", "")
    return origin.partition("://")[2] == connection.headers.get("host", "") != ""


def _known(scope: Scope, visitor: Visitor) -> Scope:
    return {**scope, ROLE: visitor.role, USER: visitor.username}


def _refusal(connection: HTTPConnection, visitor: Visitor | None) -> Response | None:
    path = connection.scope["path"].removeprefix(PREFIX) or "/"
    method = connection.scope["method"]
    if _CLOSED.match(path):
        return PlainTextResponse("Not found", 404)
    if path == "/graphql":
        return _graphql_refusal(connection, visitor, method)
    if method not in ("GET", "HEAD"):
        return PlainTextResponse("Method not allowed", 405, headers={"Allow": "GET, HEAD"})
    if visitor is None and (_FILES.fullmatch(path) or _DOWNLOADS.match(path)):
        return PlainTextResponse("Not logged in", 401)
    return None


def _graphql_refusal(connection: HTTPConnection, visitor: Visitor | None, method: str) -> Response | None:
    if method != "POST":
        return PlainTextResponse("Method not allowed", 405, headers={"Allow": "POST"})
    if visitor is None:
        return PlainTextResponse("Not logged in", 401)
    if not same_origin(connection):
        return PlainTextResponse("Refused: this request does not come from a page of this site.", 403)
    if connection.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return PlainTextResponse("The content type must be application/json.", 415)
    return None


def _login(connection: HTTPConnection) -> Response:
    return RedirectResponse(f"/login/?next={connection.scope['path']}", 302)
