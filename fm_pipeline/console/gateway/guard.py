"""What is checked of every request before it reaches Dagster's web server, whatever the role.

- who: no session leads to the login (pages) or is a 401; a websocket is refused before it is accepted
- from where: the name of this site, and for GraphQL a page of this site (`Origin`)
- how: GraphQL by POST of exactly `application/json`, everything else by GET
- what: the output and the record of a run are for admins; routes that are closed are 404
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlencode

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fm_pipeline.console.gateway.answers import OWN_PAGE, with_headers
from fm_pipeline.console.gateway.context import ADDRESS, ADMIN, ROLE, USER
from fm_pipeline.console.gateway.origin import is_ours, is_same_origin
from fm_pipeline.console.gateway.routes import PREFIX, Kind, as_run_id, kind_of
from fm_pipeline.console.gateway.visitors import FindVisitor, RecentVisitors, Visitor
from fm_pipeline.db.audit import AuditAction, AuditOutcome

SESSION_CHECK_SECONDS = 3.0  # between two questions whether the session of an open websocket still stands
REFUSED_ORIGIN = "Refused: this request does not come from a page of this site."
REFUSED_SCOPE = "Refused: the scope of this token does not allow this."
REFUSED_ROLE = "Refused: only an administrator may read the output and the record of a run."
RETRY = {"Retry-After": "10"}  # seconds

_log = logging.getLogger(__name__)


class RecordAccess(Protocol):
    """Puts a download or a refusal into the audit trail."""

    async def __call__(
        self,
        visitor: Visitor,
        address: str,
        action: AuditAction,
        outcome: AuditOutcome,
        detail: str,
        run_id: str | None = None,
    ) -> None: ...


class Guard:
    """An ASGI application in front of Dagster's.

    Args:
        dagster: the application that is guarded; it holds the prefix itself.
        find_visitor: who a request is from, by its session or token.
        address_of: from where a request comes.
        record: the audit trail.
        hosts: the names of this site, as in Django's ALLOWED_HOSTS.
        url: where people open the site; None if only the name in the `Host` header is known.
        no_accounts_page: renders what a person sees while nobody can be looked for.
    """

    def __init__(
        self,
        dagster: ASGIApp,
        find_visitor: FindVisitor,
        *,
        address_of: Callable[[HTTPConnection], str],
        record: RecordAccess,
        hosts: Sequence[str],
        url: str | None,
        no_accounts_page: Callable[[], str],
    ) -> None:
        self._dagster = dagster
        self._find_visitor = find_visitor
        self._recent = RecentVisitors(find_visitor)
        self._cannot_find = False
        self._address_of = address_of
        self._record = record
        self._hosts = hosts
        self._url = url
        self._no_accounts_page = no_accounts_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(HTTPConnection(scope), scope, receive, send)
            return
        connection = HTTPConnection(scope)
        kind = kind_of(scope["path"].removeprefix(PREFIX))
        send = with_headers(send, kind)
        visitor, refusal = await self._ask(connection, kind)
        if refusal is not None or visitor is None:
            await (refusal or _not_logged_in(connection, kind))(scope, receive, send)
            return
        if kind is Kind.DOWNLOAD:
            send = self._recording(connection, visitor, send)
        await self._answer(self._known(scope, visitor, connection), receive, send)

    async def _ask(self, connection: HTTPConnection, kind: Kind) -> tuple[Visitor | None, Response | None]:
        refusal = _form_refusal(connection, kind, self._hosts)
        if refusal is not None:
            return None, refusal
        try:
            visitor = await self._found(self._recent if kind is Kind.FILE else self._find_visitor, connection)
        except Exception:  # noqa: BLE001  # `_found` has logged it
            return None, self._no_accounts(kind)
        if visitor is not None and not visitor.role:
            if kind is not Kind.FILE:
                await self._record(
                    visitor, self._address_of(connection), "access", "refused", f"Dagster: {REFUSED_SCOPE}"
                )
            refusal = PlainTextResponse(REFUSED_SCOPE, 403)
        elif visitor is not None and kind is Kind.GRAPHQL:
            refusal = await self._graphql_refusal(connection, visitor)
        elif visitor is not None and kind is Kind.DOWNLOAD:
            refusal = await self._download_refusal(connection, visitor)
        return visitor, refusal

    async def _found(self, find: FindVisitor, connection: HTTPConnection) -> Visitor | None:
        """Find a visitor. An error is logged once until it is over, and not for each of the many requests of a page."""
        try:
            visitor = await find(connection)
        except Exception:
            if not self._cannot_find:
                _log.exception("The accounts cannot be read, so that nobody is let in until they can.")
            self._cannot_find = True
            raise
        self._cannot_find = False
        return visitor

    def _no_accounts(self, kind: Kind) -> Response:
        if kind is not Kind.PAGE:
            return PlainTextResponse("The accounts cannot be read now. Try again in a minute.", 503, headers=RETRY)
        return HTMLResponse(self._no_accounts_page(), 503, headers={**RETRY, **OWN_PAGE})

    async def _graphql_refusal(self, connection: HTTPConnection, visitor: Visitor) -> Response | None:
        # First what a page of another site can send without asking; so nobody fills the audit trail from there.
        if connection.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return PlainTextResponse("The content type must be application/json.", 415)
        if not visitor.by_token and not is_same_origin(connection, self._url):
            address = self._address_of(connection)
            await self._record(visitor, address, "dagster", "refused", "Dagster: a request of another site's page.")
            return PlainTextResponse(REFUSED_ORIGIN, 403)
        return None

    async def _download_refusal(self, connection: HTTPConnection, visitor: Visitor) -> Response | None:
        if visitor.role == ADMIN:
            return None
        await self._record_download(connection, visitor, "refused")
        return PlainTextResponse(REFUSED_ROLE, 403)

    async def _record_download(self, connection: HTTPConnection, visitor: Visitor, outcome: AuditOutcome) -> None:
        what, _, rest = connection.scope["path"].removeprefix(f"{PREFIX}/").partition("/")
        detail = f"Dagster: {'the record' if what == 'download_debug' else 'the output'} of a run."
        run_id = as_run_id(rest.partition("/")[0])
        await self._record(visitor, self._address_of(connection), "download", outcome, detail, run_id)

    def _recording(self, connection: HTTPConnection, visitor: Visitor, send: Send) -> Send:
        """Return a `send` that records a download before its first byte leaves."""

        async def recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                failed = message["status"] >= 400  # HTTP's errors
                await self._record_download(connection, visitor, "failed" if failed else "done")
            await send(message)

        return recorded

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Dagster answer. If it fails, say so and keep the connection; the reason goes to the log."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            await send(message)
            begun = True

        try:
            await self._dagster(scope, receive, watched)
        except Exception:  # noqa: BLE001
            _log.exception("Dagster did not answer.")
            if not begun:
                await PlainTextResponse("Dagster could not answer this.", 500)(scope, receive, send)

    async def _websocket(self, connection: HTTPConnection, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse before accepting; end the connection when the session has ended."""
        visitor = await self._websocket_visitor(connection)
        if visitor is None:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        served = asyncio.ensure_future(self._dagster(self._known(scope, visitor, connection), receive, send))
        try:
            while not served.done():
                await asyncio.wait({served}, timeout=SESSION_CHECK_SECONDS)
                if not served.done() and await self._websocket_visitor(connection) != visitor:
                    await send({"type": "websocket.close", "code": 1008})
                    return
        finally:
            served.cancel()
            (failure,) = await asyncio.gather(served, return_exceptions=True)
            if isinstance(failure, Exception):
                _log.error("Dagster ended a websocket.", exc_info=failure)

    async def _websocket_visitor(self, connection: HTTPConnection) -> Visitor | None:
        path = connection.scope["path"]
        if path != f"{PREFIX}/graphql" or not is_ours(connection, self._hosts):
            return None
        try:
            visitor = await self._found(self._find_visitor, connection)
        except Exception:  # noqa: BLE001  # `_found` has logged it; the websocket ends
            return None
        if visitor is None or not visitor.role:
            return None
        if not visitor.by_token and not is_same_origin(connection, self._url):
            return None
        return visitor

    def _known(self, scope: Scope, visitor: Visitor, connection: HTTPConnection) -> Scope:
        return {**scope, ROLE: visitor.role, USER: visitor.username, ADDRESS: self._address_of(connection)}


def _form_refusal(connection: HTTPConnection, kind: Kind, hosts: Sequence[str]) -> Response | None:
    """What is refused to everybody, before anybody is looked for."""
    if not is_ours(connection, hosts):
        return PlainTextResponse("This is not the name of this site.", 400)
    if kind is Kind.CLOSED:
        return PlainTextResponse("Not found", 404)
    allowed = ("POST",) if kind is Kind.GRAPHQL else ("GET", "HEAD")
    if connection.scope["method"] not in allowed:
        return PlainTextResponse("Method not allowed", 405, headers={"Allow": ", ".join(allowed)})
    return None


def _not_logged_in(connection: HTTPConnection, kind: Kind) -> Response:
    if "authorization" in connection.headers:
        return PlainTextResponse("This token is not valid.", 401, headers={"WWW-Authenticate": "Bearer"})
    if kind is not Kind.PAGE:
        return PlainTextResponse("Not logged in", 401)
    query = connection.scope["query_string"].decode("latin-1")
    wanted = connection.scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"/login/?{urlencode({'next': wanted})}", 302)
