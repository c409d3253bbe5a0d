"""Dagster's web server as an application below /dagster, with a Content-Security-Policy that names all it may load."""

from __future__ import annotations

from dagster_webserver.webserver import DagsterWebserver
from starlette.applications import Starlette

from fm_pipeline.console.door.context import ConsoleProcessContext, ConsoleRequestContext
from fm_pipeline.console.door.guard import PREFIX

POLL_MILLISECONDS = 2000
# As narrow as Dagster's pages allow. Dagster's own policy names neither frames nor what may be connected to.
_POLICY = (
    "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self';"
    " script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; media-src 'self'"
)


class ConsoleWebserver(DagsterWebserver[ConsoleProcessContext, ConsoleRequestContext]):
    """Dagster's, with other headers."""

    def make_csp_header(self, nonce: str) -> str:
        """Return the policy of a page."""
        return _POLICY.format(nonce=nonce)

    def make_security_headers(self) -> dict[str, str]:
        """Return the other headers of a page."""
        return {**super().make_security_headers(), "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"}


def dagster_app(context: ConsoleProcessContext) -> Starlette:
    """Return the application; it holds the prefix itself."""
    return ConsoleWebserver(context, PREFIX, POLL_MILLISECONDS).create_asgi_app()
