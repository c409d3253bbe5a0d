"""The server as a Starlette application: URLs, verbs, tokens, and faults that a test has set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fm_pipeline.sandbox.filemaker import cells, control, login, metadata, reading, scripts, streaming, writing
from fm_pipeline.sandbox.filemaker.call import ApiCall, Engine
from fm_pipeline.sandbox.filemaker.faults import broken_json
from fm_pipeline.sandbox.filemaker.faults.faulty_responses import corrupt, page_of_web_server, replacement_response
from fm_pipeline.sandbox.filemaker.odata.address import ROOT
from fm_pipeline.sandbox.filemaker.odata.service import ODataService
from fm_pipeline.sandbox.filemaker.responses import ApiError, error_response, success_response

_VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


@dataclass(frozen=True)
class Endpoint:
    """The handler of a verb on a path. `needs_token` is False only where FileMaker requires none."""

    kind: str
    handler: Callable[[ApiCall], Any]
    needs_token: bool = True


_DATABASE = "databases/{database}"
_LAYOUT = f"{_DATABASE}/layouts/{{layout}}"
_RECORD = f"{_LAYOUT}/records/{{record}}"
# The endpoints of Claris's OpenAPI document 1.0.3.
ROUTES: Mapping[str, Mapping[str, Endpoint]] = {
    "productInfo": {"GET": Endpoint("product_info", metadata.product_info, False)},
    "databases": {"GET": Endpoint("databases", metadata.databases, False)},
    "validateSession": {"GET": Endpoint("validate_session", login.validate_session)},
    f"{_DATABASE}/sessions": {"POST": Endpoint("login", login.login, False)},
    f"{_DATABASE}/sessions/{{token}}": {"DELETE": Endpoint("logout", login.logout, False)},
    f"{_DATABASE}/globals": {"PATCH": Endpoint("globals", cells.set_globals)},
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
    f"{_RECORD}/containers/{{field}}": {"POST": Endpoint("upload", streaming.upload)},
    f"{_RECORD}/containers/{{field}}/{{repetition}}": {"POST": Endpoint("upload", streaming.upload)},
}
_PATTERNS = [(pattern.split("/"), verbs) for pattern, verbs in ROUTES.items()]


def resolve(raw_path: str, verb: str) -> tuple[str, dict[str, str], Endpoint]:
    """Return version, named parts and endpoint of a URL. `%2F` inside a part is not a separator.

    Raises:
        ApiError: 1630 (no Data API URL), 1700 (no such resource), 1704 (wrong verb).
    """
    parts = [unquote(part) for part in raw_path.strip("/").split("/")]
    if parts[:2] != ["fmi", "data"] or len(parts) < 4 or parts[2] not in ("v1", "v2", "vLatest"):
        raise ApiError(1630)
    for pattern, verbs in _PATTERNS:
        if len(pattern) != len(parts) - 3:
            continue
        named = {p[1:-1]: part for p, part in zip(pattern, parts[3:], strict=True) if p.startswith("{")}
        if all(p.startswith("{") or p == part for p, part in zip(pattern, parts[3:], strict=True)):
            if verb not in verbs:
                raise ApiError(1704)
            return parts[2], named, verbs[verb]
    raise ApiError(1700)


class DataApi:
    """Answers requests of the Data API, each in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(self, request: Request) -> Response:
        """Answer a request, with the faults that apply to it."""
        engine = self._engine
        try:
            raw_path = request.scope["raw_path"].decode("ascii")
            if "%2f" in raw_path.lower() and not engine.behaviour.passes_slashes:
                return page_of_web_server(404, "Not Found")
            version, path, route = resolve(raw_path, request.method)
            if "database" in path:
                path["database"] = path["database"].removesuffix(".fmp12")
        except ApiError as error:
            engine.counters.begin("none")
            engine.counters.end(str(error.code))
            return error_response(error)
        engine.counters.begin(route.kind)
        code = "aborted"
        try:
            body = await request.body()
            call = ApiCall(engine, version, path, dict(request.query_params), request.headers, body)
            call.base_url = str(request.base_url).rstrip("/")
            response, code = await self._answer(request, call, route)
            return response
        finally:
            engine.counters.end(code)

    async def _answer(self, request: Request, call: ApiCall, route: Endpoint) -> tuple[Response, str]:
        striking = self._engine.striking(route.kind)
        page = await replacement_response(request, striking, self._engine.faults)
        if page is not None:
            return page, f"HTTP {page.status_code}"
        try:
            for one in striking:
                if one.what == "code":
                    raise ApiError(one.code)
            response = await anyio.to_thread.run_sync(self._handle, call, route)
            code = "0"
        except ApiError as error:
            response, code = error_response(error), str(error.code)
        return corrupt(response, striking), code

    def _handle(self, call: ApiCall, route: Endpoint) -> Response:
        engine = self._engine
        if route.needs_token:
            scheme, _, token = call.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                raise ApiError(952)
            call.session = engine.sessions.use(token.strip(), call.path.get("database"))
        result = route.handler(call)
        response = result if isinstance(result, Response) else success_response(result)
        if route.kind in ("records", "find"):
            engine.counters.pages += 1
            control.between_pages(engine, call.database)
        if route.kind in ("record", "records", "find") and engine.faults.broken_values:
            text = broken_json.spoil(bytes(response.body).decode("utf-8"))
            response = Response(text, response.status_code, media_type=response.headers["content-type"])
        return response


class Streaming:
    """Answers requests for the files of containers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(self, request: Request) -> Response:
        """Answer a request, with the faults that apply to it."""
        engine, kind = self._engine, streaming.kind_of(request)
        engine.counters.begin(kind)
        status = "aborted"
        try:
            striking = engine.striking(kind)
            response = await replacement_response(request, striking, engine.faults)
            if response is None:
                response = corrupt(await anyio.to_thread.run_sync(streaming.stream, engine, request), striking)
            status = f"HTTP {response.status_code}"
            return response
        finally:
            engine.counters.end(status)


def make_app(engine: Engine) -> Starlette:
    """Return the application: the Data API, containers, OData, and the control API under `/_sandbox/`."""
    return Starlette(
        routes=[
            *control.routes(engine),
            Route("/Streaming_SSL/{path:path}", Streaming(engine).__call__, methods=["GET"]),
            Route(f"{ROOT}{{path:path}}", ODataService(engine).__call__, methods=_VERBS),
            Route("/{path:path}", DataApi(engine).__call__, methods=_VERBS),
        ]
    )
