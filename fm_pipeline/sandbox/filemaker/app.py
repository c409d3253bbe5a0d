"""The server as a Starlette application: URLs, verbs, tokens, and whatever faults are set."""

from __future__ import annotations

import base64
import binascii
import json
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

from fm_pipeline.sandbox.filemaker import control, metadata, reading, scripts, writing
from fm_pipeline.sandbox.filemaker.answers import Refusal, answer, refusal
from fm_pipeline.sandbox.filemaker.call import Call, Engine, check_names
from fm_pipeline.sandbox.filemaker.faults import Disturbance

_VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
_WEB_SERVER_PAGE = "<html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>"
_PAGES = {
    "bad_gateway": (502, "Bad Gateway"),
    "service_unavailable": (503, "Service Unavailable"),
    "gateway_timeout": (504, "Gateway Timeout"),
    "wrong_content": (200, "Welcome to nginx!"),
}


@dataclass(frozen=True)
class Route_:
    """What a verb on a path does. `needs_token` is False only where FileMaker asks for none."""

    kind: str
    handler: Callable[[Call], Any]
    needs_token: bool = True


def login(call: Call) -> Response:
    """POST …/sessions: the token in a header and in the body. Raises Refusal 9, 10, 212, 214, 802, 812, 956."""
    engine = call.engine
    if call.raw_body.strip() or engine.behaviour.login_needs_body:
        check_names(list(call.body()), ("fmDataSource",))
    scheme, _, credentials = call.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise Refusal(10)
    try:
        name, colon, password = base64.b64decode(credentials, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise Refusal(212, "Authorization header 'Basic' invalid.")
    if call.database not in engine.store.databases():
        raise Refusal(802)
    engine.sessions.check_lockout(call.database, name)
    account = engine.store.account(call.database, name, password)
    if account is None:
        engine.sessions.wrong_password(call.database, name)
        raise Refusal(212)
    if "fmrest" not in account.privileges:
        raise Refusal(engine.behaviour.no_fmrest_code)
    token = engine.sessions.open(call.database, account).token
    return answer({"token": token}, headers={"X-FM-Data-Access-Token": token})


def logout(call: Call) -> dict[str, Any]:
    """DELETE …/sessions/{token}, without any header. Raises Refusal 952."""
    call.engine.sessions.close(call.path["token"], call.database)
    return {}


def validate_session(call: Call) -> dict[str, Any]:
    """GET /validateSession. Raises Refusal 1700 where the version has none."""
    if call.engine.behaviour.version < 19:
        raise Refusal(1700)
    return {"isSessionInUse": True}


_DATABASE = "databases/{database}"
_LAYOUT = f"{_DATABASE}/layouts/{{layout}}"
_RECORD = f"{_LAYOUT}/records/{{record}}"
# The endpoints of Claris's OpenAPI document 1.0.3, without container upload and globals.
ROUTES: Mapping[str, Mapping[str, Route_]] = {
    "productInfo": {"GET": Route_("product_info", metadata.product_info, False)},
    "databases": {"GET": Route_("databases", metadata.databases, False)},
    "validateSession": {"GET": Route_("validate_session", validate_session)},
    f"{_DATABASE}/sessions": {"POST": Route_("login", login, False)},
    f"{_DATABASE}/sessions/{{token}}": {"DELETE": Route_("logout", logout, False)},
    f"{_DATABASE}/scripts": {"GET": Route_("scripts", scripts.list_all)},
    f"{_DATABASE}/layouts": {"GET": Route_("layouts", metadata.layouts)},
    _LAYOUT: {"GET": Route_("layout", metadata.layout)},
    f"{_LAYOUT}/metadata": {"GET": Route_("layout", metadata.legacy_layout)},
    f"{_LAYOUT}/script/{{script}}": {"GET": Route_("script", scripts.run)},
    f"{_LAYOUT}/_find": {"POST": Route_("find", reading.find)},
    f"{_LAYOUT}/records": {
        "GET": Route_("records", reading.get_records),
        "POST": Route_("create", writing.create),
    },
    _RECORD: {
        "GET": Route_("record", reading.get_record),
        "PATCH": Route_("edit", writing.edit),
        "POST": Route_("duplicate", writing.duplicate),
        "DELETE": Route_("delete", writing.delete),
    },
}
_PATTERNS = [(pattern.split("/"), verbs) for pattern, verbs in ROUTES.items()]


def resolve(raw_path: str, verb: str) -> tuple[str, Mapping[str, str], Route_]:
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

    async def _answer(self, request: Request, call: Call, route: Route_) -> tuple[Response, str]:
        striking = self._engine.faults.striking(route.kind)
        for one in striking:
            if one.what == "slow":
                await _wait(request, one.seconds)
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

    def _handle(self, call: Call, route: Route_) -> Response:
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


async def _wait(request: Request, seconds: float) -> None:
    """Wait, but no longer than the client does."""
    with anyio.move_on_after(seconds):
        while (await request.receive())["type"] != "http.disconnect":
            pass


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
            broken = json.dumps(bytes(response.body).decode())[1:-1]
            return Response(f'{{"response":{{"data":[?]}},"was":{broken}', media_type="application/json")
    return response


def make_app(engine: Engine) -> Starlette:
    """The application: the Data API, and the control surface under `/_sandbox/`."""
    return Starlette(routes=[*control.routes(engine), Route("/{path:path}", DataApi(engine).__call__, methods=_VERBS)])
