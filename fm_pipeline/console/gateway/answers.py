"""The headers of every answer of the gateway. Dagster gives some of them to its pages, and none to the rest."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from fm_pipeline.console.gateway.routes import Kind

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
# What is no page loads and shows nothing. A script has none: a worker would take it for its own.
NO_PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
# A page that is shown in place of one of Dagster's; it has no script.
OWN_PAGE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
}
KEPT_FILES = "private, max-age=86400"


def with_headers(send: Send, kind: Kind) -> Send:
    """Return a `send` that adds them; a page of Dagster keeps its own Content-Security-Policy."""

    async def sends(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            del headers["feature-policy"]  # the old name of Permissions-Policy
            is_file = kind is Kind.FILE and message["status"] in (200, 206, 304)
            headers.setdefault("Cache-Control", KEPT_FILES if is_file else "no-store")
            if not is_file:
                headers.setdefault("Content-Security-Policy", NO_PAGE)
        await send(message)

    return sends
