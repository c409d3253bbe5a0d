"""The responses of faults: pages of the web server, delayed answers, truncated and corrupted bodies."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from fm_pipeline.sandbox.filemaker.faults.faults import Faults, RequestFault

_WEB_SERVER_PAGE = "<html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>"
_LOOK_AGAIN_SECONDS = 0.05
# A broken calculation without its quotation marks.
_NOT_JSON = '{"response":{"data":[{"fieldData":{"age":?}}]},"messages":[{"code":"0","message":"OK"}]}'
_PAGES = {
    "unauthorized": (401, "Unauthorized"),
    "bad_gateway": (502, "Bad Gateway"),
    "service_unavailable": (503, "Service Unavailable"),
    "gateway_timeout": (504, "Gateway Timeout"),
    "wrong_content": (200, "Welcome to nginx!"),
}


def page_of_web_server(status: int, title: str) -> Response:
    """Return the page with which the web server answers in place of the Data API engine."""
    return HTMLResponse(_WEB_SERVER_PAGE.format(status=status, title=title), status)


async def replacement_response(request: Request, striking: Sequence[RequestFault], faults: Faults) -> Response | None:
    """Delay a slow answer; return the web server's page if it answers in place of the Data API engine."""
    for one in striking:
        if one.what == "slow":
            await _wait(request, one, faults)
        elif one.what in _PAGES:
            status, title = _PAGES[one.what]
            return page_of_web_server(status, title)
    return None


async def _wait(request: Request, slow: RequestFault, faults: Faults) -> None:
    """Wait until the time is over, the client disconnects, or the fault is removed."""
    with anyio.move_on_after(slow.seconds):
        while any(one is slow for one in faults.disturbances):
            with anyio.move_on_after(_LOOK_AGAIN_SECONDS):
                while (await request.receive())["type"] != "http.disconnect":
                    pass
                return


def corrupt(response: Response, striking: Sequence[RequestFault]) -> Response:
    """Return the response with the faults of its body applied."""
    body, kind = bytes(response.body), response.headers.get("content-type")
    for one in striking:
        if one.what == "cut":
            return _Cut(body, response.status_code, media_type=kind)
        if one.what == "half":
            return Response(body[: len(body) // 2], response.status_code, media_type=kind)
        if one.what == "not_json":
            return Response(_NOT_JSON, media_type="application/json")
    return response


class _Cut(Response):
    """A response that declares its whole length and sends half of the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the half; the server then closes the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
