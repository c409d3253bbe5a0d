"""The OData service as a Starlette endpoint: accounts, verbs, and faults that a test has set.

Every request carries the account; there are no sessions and no cookies. Source: Claris OData API Guide,
"Creating authenticated connections".
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fm_pipeline.sandbox.filemaker.call import Engine
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline.sandbox.filemaker.faults.faults import RequestFault
from fm_pipeline.sandbox.filemaker.faults.faulty_responses import corrupt, replacement_response
from fm_pipeline.sandbox.filemaker.odata import metadata, records, rows, writing
from fm_pipeline.sandbox.filemaker.odata.address import ResourcePath, parse_options, parse_path
from fm_pipeline.sandbox.filemaker.odata.failures import ServiceError, failure_response, of_filemaker, syntax
from fm_pipeline.sandbox.filemaker.odata.request import ServiceCall, bad_account, credentials
from fm_pipeline.sandbox.filemaker.odata.sets import hosted_name
from fm_pipeline.sandbox.filemaker.responses import ApiError

_HANDLERS: Mapping[str, Callable[[ServiceCall], Response]] = {
    "odata_sets": metadata.list_sets,
    "odata_metadata": metadata.describe,
    "odata_rows": rows.list_rows,
    "odata_count": rows.count_rows,
    "odata_record": records.one_record,
    "odata_field": records.one_field,
    "odata_value": records.raw_value,
    "odata_create": writing.create,
    "odata_update": writing.update,
    "odata_delete": writing.delete,
    "odata_upload": writing.upload,
    "odata_script": writing.run_script,
}
_READS = ("GET", "HEAD")
_CHANGES = {"PATCH": "odata_update", "DELETE": "odata_delete"}


def kind_of(path: ResourcePath, verb: str) -> str:
    """Return the kind of a request, by which faults and counters know it. Raises ServiceError 405, -1002."""
    below = path.rest[-1] if path.rest else ""
    if verb not in _READS:
        return _kind_of_change(path, verb, below)
    if not path.database or not path.resource:
        return "odata_sets" if path.database else "odata_service"
    if path.resource.startswith("$metadata"):
        return "odata_metadata"
    if path.key is None:
        if path.rest not in ((), ("$count",)):
            raise syntax("/".join(path.rest))
        return "odata_count" if below else "odata_rows"
    return {"": "odata_record", "$value": "odata_value"}.get(below, "odata_field")


def _kind_of_change(path: ResourcePath, verb: str, below: str) -> str:
    if verb == "POST" and (below or path.resource).startswith("Script."):
        return "odata_script"
    if path.resource and not path.rest:
        if verb in _CHANGES:
            return _CHANGES[verb]
        if verb == "POST" and path.key is None:
            return "odata_create"
    if verb == "PATCH" and path.key is not None and len(path.rest) == 1:
        return "odata_upload"
    raise ServiceError(405, "-1002", f"{verb} is not supported here")


class ODataService:
    """Answers requests below `/fmi/odata/v4`, each in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(self, request: Request) -> Response:
        """Answer a request, with the faults that apply to it."""
        engine, kind, code = self._engine, "odata", "aborted"
        wants_xml = "xml" in request.headers.get("accept", "") and "json" not in request.headers.get("accept", "")
        try:
            path = parse_path(request.scope["raw_path"].decode("ascii"))
            kind = kind_of(path, request.method)
        except ServiceError as error:
            engine.counters.begin(kind)
            engine.counters.end(error.code)
            return failure_response(error, wants_xml)
        engine.counters.begin(kind)
        try:
            body = await request.body()
            striking = engine.striking(kind)
            response = await replacement_response(request, striking, engine.faults)
            if response is not None:
                code = f"HTTP {response.status_code}"
                return response
            try:
                for one in striking:
                    if one.what == "code":
                        raise of_filemaker(ApiError(one.code))
                response = await anyio.to_thread.run_sync(self._handle, request, path, kind, body)
                code = "0"
            except ServiceError as error:
                response, code = failure_response(error, wants_xml), error.code
            return corrupt(_spoiled(response, striking), striking)
        finally:
            engine.counters.end(code)

    def _account(self, database: str, name: str, password: str) -> ServerAccount:
        engine = self._engine
        try:
            engine.sessions.check_lockout(database, name)
        except ApiError as error:
            raise of_filemaker(error) from None
        account = engine.store.account(database, name, password)
        if account is None:
            engine.sessions.wrong_password(database, name)
            raise bad_account()
        if "fmodata" not in account.privileges:
            raise ServiceError(403, "9", "Insufficient privileges")
        return account

    def _handle(self, request: Request, path: ResourcePath, kind: str, body: bytes) -> Response:
        engine, server = self._engine, str(request.base_url).rstrip("/")
        raw_path = request.scope["raw_path"].decode("ascii")
        name, password = credentials(request.headers)
        if kind == "odata_service":
            return JSONResponse(metadata.list_databases(engine, server, name, password))
        database = hosted_name(engine, path.database)
        account = self._account(database, name, password)
        options = parse_options(request.scope["query_string"].decode("ascii"), engine.behaviour.odata.encoded_options)
        call = ServiceCall(
            engine, request.method, path, options, request.headers, body, server, raw_path, database, account
        )
        try:
            if (
                request.method in _READS
                and path.key is not None
                and path.rest
                and path.rest[0] in call.named_set().relations
            ):
                return rows.of_relation(call)
            return _HANDLERS[kind](call)
        except ApiError as error:
            raise of_filemaker(error) from None
        except sqlite3.OperationalError as error:
            raise ServiceError(400, "-1002", f"The query cannot be run: {error}") from None


def _spoiled(response: Response, striking: Sequence[RequestFault]) -> Response:
    """Return a page with an error in its last row, or without its second half, if a fault says so."""
    for one in striking:
        if one.what in ("error_in_row", "fewer_rows") and response.status_code == 200:
            content: dict[str, Any] = json.loads(bytes(response.body))
            found = content.get("value")
            if not isinstance(found, list) or not found:
                continue
            if one.what == "fewer_rows":
                content["value"] = found[: len(found) // 2]
            else:
                found[-1] = {"error": {"code": "8309", "message": "The record could not be read"}}
            return JSONResponse(content)
    return response
