"""The server as a Starlette application: URLs, verbs, tokens, and whatever faults are set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fm_pipeline.sandbox.filemaker import control, login, metadata, reading, scripts, writing
from fm_pipeline.sandbox.filemaker.answers import Refusal, answer, refusal
from fm_pipeline.sandbox.filemaker.call import Call, Engine
from fm_pipeline.sandbox.filemaker.faults import Disturbance

_VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
_WEB_SERVER_PAGE = "<html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>"
_LOOK_AGAIN_SECONDS = 0.05
# A broken calculation without its quotation marks.
_NOT_JSON = '{"response":{"data":[{"fieldData":{"age":?}}]},"messages":[{"code":"0","message":"OK"}]}'
_PAGES = {
    "bad_gateway": (502, "Bad Gateway"),
    "service_unavailable": (503, "Service Unavailable"),
    "gateway_timeout": (504, "Gateway Timeout"),
    "wrong_content": (200, "Welcome to nginx!"),
}


@dataclass(frozen=True)
class Endpoint:
    """What a verb on a path does. `needs_token` is False only where FileMaker asks for none."""

    kind: str
    handler: Callable[[Call], Any]
    needs_token: bool = True


_DATABASE = "databases/{database}"
_LAYOUT = f"{_DATABASE}/layouts/{{layout}}"
_RECORD = f"{_LAYOUT}/records/{{record}}"
# The endpoints of Claris's OpenAPI document 1.0.3, without container upload and globals.
ROUTES: Mapping[str, Mapping[str, Endpoint]] = {
    "productInfo": {"GET": Endpoint("product_info", metadata.product_info, False)},
    "databases": {"GET": Endpoint("databases", metadata.databases, False)},
    "validateSession": {"GET": Endpoint("validate_session", login.validate_session)},
    f"{_DATABASE}/sessions": {"POST": Endpoint("login", login.login, False)},
    f"{_DATABASE}/sessions/{{token}}": {"DELETE": Endpoint("logout", login.logout, False)},
    f"{_DATABASE}/scripts": {"GET": Endpoint("scripts", scripts.list_all)},
    f"{_DATABASE}/layouts": {"GET": Endpoint("layouts", metadata.layouts)},
    _LAYOUT: {"GET": Endpoint("layout", metadata.layout)},
    f"{_LAYOUT}/metadata": {"GET": Endpoint("layout", metadata.legacy_layout)},
    f"{_LAYOUT}/script/{{script}}": {"GET": Endpoint("script", scripts.run)},
    f"{_LAYOUT}/_find": {"POST": Endpoint("find", reading.find)},
    f"{_LAYOUT}/records": {
        "GET": Endpoint("records", reading.get_records),
        "POST": Endpoint("create", writing.create),
    },
    _RECORD: {
        "GET": Endpoint("record", reading.get_record),
        "PATCH": Endpoint("edit", writing.edit),
        "POST": Endpoint("duplicate", writing.duplicate),
        "DELETE": Endpoint("delete", writing.delete),
    },
}
_PATTERNS = [(pattern.split("/"), verbs) for pattern, verbs in ROUTES.items()]


def resolve(raw_path: str, verb: str) -> tuple[str, Mapping[str, str], Endpoint]:
    """Version, named parts and route of a URL. `%2F` inside a part is not a separator.

    Raises:
        Refusal: 1630 (no Data API URL), 1700 (no such resource), 1704 (wrong verb).
    """
    parts = [unquote(part) for part in raw_path.strip("/").split("/")]
    if parts[:2] != ["fmi", "data"] or len(parts) < 4 or parts[2] not in ("v1", "v2", "vLatest"):
        raise Refusal(1630)
    for pattern, verbs in _PATTERNS:
        if len(pattern) != len(parts) - 3:
            continue
        named = {p[1:-1]: part for p, part in zip(pattern, parts[3:], strict=True) if p.startswith("{")}
        if all(p.startswith("{") or p == part for p, part in zip(pattern, parts[3:], strict=True)):
            if verb not in verbs:
                raise Refusal(1704)
            return parts[2], named, verbs[verb]
    raise Refusal(1700)


class DataApi:
    """Answers one request after the other, each in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(self, request: Request) -> Response:
        """Answer, or be disturbed."""
        engine = self._engine
        try:
            raw_path = request.scope["raw_path"].decode("ascii")
            version, path, route = resolve(raw_path, request.method)
        except Refusal as error:
            engine.counters.begin("none")
            engine.counters.end(str(error.code))
            return refusal(error)
        engine.counters.begin(route.kind)
        code = "aborted"
        try:
            body = await request.body()
            call = Call(engine, version, path, dict(request.query_params), request.headers, body)
            response, code = await self._answer(request, call, route)
            return response
        finally:
            engine.counters.end(code)

    async def _answer(self, request: Request, call: Call, route: Endpoint) -> tuple[Response, str]:
        striking = self._engine.faults.striking(route.kind)
        for one in striking:
            if one.what == "slow":
                await self._wait(request, one)
            elif one.what in _PAGES:
                status, title = _PAGES[one.what]
                page = _WEB_SERVER_PAGE.format(status=status, title=title)
                return HTMLResponse(page, status), f"HTTP {status}"
        try:
            for one in striking:
                if one.what == "code":
                    raise Refusal(one.code)
            response = await anyio.to_thread.run_sync(self._handle, call, route)
            code = "0"
        except Refusal as error:
            response, code = refusal(error), str(error.code)
        return _spoil(response, striking), code

    async def _wait(self, request: Request, slow: Disturbance) -> None:
        """Wait, but no longer than the client does, and only as long as the fault is set."""
        with anyio.move_on_after(slow.seconds):
            while any(one is slow for one in self._engine.faults.disturbances):
                with anyio.move_on_after(_LOOK_AGAIN_SECONDS):
                    while (await request.receive())["type"] != "http.disconnect":
                        pass
                    return

    def _handle(self, call: Call, route: Endpoint) -> Response:
        engine = self._engine
        if route.needs_token:
            scheme, _, token = call.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                raise Refusal(952)
            call.session = engine.sessions.use(token.strip(), call.path.get("database"))
        result = route.handler(call)
        response = result if isinstance(result, Response) else answer(result)
        if route.kind in ("records", "find"):
            engine.counters.pages += 1
            control.between_pages(engine, call.database)
        return response


class _Cut(Response):
    """Announces the whole body and sends half of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the half; the server then closes the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


def _spoil(response: Response, striking: list[Disturbance]) -> Response:
    for one in striking:
        if one.what == "cut":
            return _Cut(bytes(response.body), response.status_code, media_type=response.media_type)
        if one.what == "not_json":
            return Response(_NOT_JSON, media_type="application/json")
    return response


def make_app(engine: Engine) -> Starlette:
    """The application: the Data API, and the control surface under `/_sandbox/`."""
    return Starlette(routes=[*control.routes(engine), Route("/{path:path}", DataApi(engine).__call__, methods=_VERBS)])
