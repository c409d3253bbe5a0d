"""Dagster's web server as an application below /dagster: its pages and its GraphQL, with answers that tell no stack."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from dagster_webserver.webserver import DagsterWebserver
from graphql import GraphQLError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from fm_pipeline.console.gateway.context import ConsoleProcessContext, ConsoleRequestContext
from fm_pipeline.console.gateway.permissions import NotByPost, RecordMutation, Refused, guarded_schema
from fm_pipeline.console.gateway.routes import PREFIX, served

POLL_MILLISECONDS = 2000
LARGEST_QUERY = 4 * 1024 * 1024  # bytes; the launchpad's largest configuration is a few kilobytes
OUTPUT = ("out", "err")  # what a run's output is called on the disk
UNFORESEEN = "Dagster could not answer this. The log of the site has the reason."
# As narrow as Dagster's pages allow. Dagster's own policy names neither frames nor what may be connected to.
_POLICY = (
    "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self';"
    " script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; media-src 'self'"
)

_log = logging.getLogger(__name__)


class ConsoleWebserver(DagsterWebserver[ConsoleProcessContext, ConsoleRequestContext]):
    """Dagster's, with permissions by role, fewer routes, other headers, and no stack in an answer."""

    def __init__(self, context: ConsoleProcessContext, record: RecordMutation) -> None:
        self._record = record
        super().__init__(context, PREFIX, POLL_MILLISECONDS)

    def build_graphql_schema(self) -> Any:
        """Return the schema that asks for the role."""
        return guarded_schema(self._record)

    def build_routes(self) -> list[BaseRoute]:
        """Return the routes that are served, below the prefix."""
        routes: list[BaseRoute] = super().build_routes()  # type: ignore[no-untyped-call]
        dagsters = next(route for route in routes if isinstance(route, Mount))
        return [Route(PREFIX, _to_the_first_page), Mount(PREFIX, routes=served(dagsters.routes))]

    def make_csp_header(self, nonce: str) -> str:
        """Return the policy of a page."""
        return _POLICY.format(nonce=nonce)

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Execute one operation, sent as a JSON object in the body of a POST."""
        try:
            asked = json.loads(await _body(request))
            query, variables, name = (asked.get(key) for key in ("query", "variables", "operationName"))
        except (ValueError, AttributeError, RecursionError):
            return _bad_request("The body must be a JSON object.")
        if not isinstance(query, str) or not isinstance(variables, dict | None) or not isinstance(name, str | None):
            return _bad_request("query must be text, variables an object, operationName text.")
        try:
            return await self.execute_graphql_request(request, query, variables, name)
        except RecursionError:
            return _bad_request("The query is nested too deeply.")

    def handle_graphql_errors(self, errors: Sequence[GraphQLError]) -> list[dict[str, Any]]:
        """Return the errors as they are shown. What nobody foresaw goes to the log: its text may hold a value."""
        return [self._shown(error) for error in errors]

    def _shown(self, error: GraphQLError) -> dict[str, Any]:
        shown = dict(error.formatted)
        if error.original_error is not None and not isinstance(error.original_error, GraphQLError):
            _log.error("Dagster failed at %s.", error.path, exc_info=error.original_error)
            shown["message"] = UNFORESEEN
        return shown

    def _determine_status_code(
        self, resolver_errors: list[GraphQLError] | None, captured_errors: list[Exception]
    ) -> int:
        thrown = [error.original_error for error in resolver_errors or ()]
        for kind, status in ((Refused, 403), (NotByPost, 400)):
            if any(isinstance(error, kind) for error in thrown):
                return status
        return super()._determine_status_code(resolver_errors, captured_errors)

    async def download_debug_file_endpoint(self, request: Request) -> Response:
        """Send the record of a run; 404 if there is none."""
        with self.request_context(request) as context:
            if not context.instance.has_run(request.path_params["run_id"]):
                raise HTTPException(404)
        answer: Response = await super().download_debug_file_endpoint(request)
        return answer

    async def download_captured_logs_endpoint(self, request: Request) -> Response:
        """Send what a run printed; 404 for every other file, and for a path that leads elsewhere."""
        *folders, extension = request.path_params["path"].split("/")
        if extension not in OUTPUT or not folders or not all(_is_name(part) for part in folders):
            raise HTTPException(404)
        answer: Response = await super().download_captured_logs_endpoint(request)
        return answer


def dagster_app(context: ConsoleProcessContext, record: RecordMutation) -> Starlette:
    """Return the application; it holds the prefix itself."""
    app = ConsoleWebserver(context, record).create_asgi_app()
    app.router.redirect_slashes = False  # it would lead to http:// where a proxy ends TLS
    return app


def _to_the_first_page(_: Request) -> Response:
    return RedirectResponse(f"{PREFIX}/")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_QUERY:
            raise HTTPException(413, "The query is too large.")
    return bytes(body)


def _bad_request(message: str) -> JSONResponse:
    return JSONResponse({"errors": [{"message": message}]}, 400)


def _is_name(part: str) -> bool:
    return part.isprintable() and part not in ("", ".", "..") and "\\" not in part
