"""Container fields over HTTP: the handshake of `/Streaming_SSL/`, and uploads.

Source: Claris FileMaker Data API Guide, "Format of data"; the handshake as public clients do it with real servers:
Bearer → 302 with a cookie → the same or an equivalent URL with the cookie → the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message
from pathlib import PurePath
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from fm_pipeline.sandbox.filemaker import writing
from fm_pipeline.sandbox.filemaker.call import ApiCall, Engine
from fm_pipeline.sandbox.filemaker.data import container_files
from fm_pipeline.sandbox.filemaker.data.schema import StoredContainerFile
from fm_pipeline.sandbox.filemaker.responses import ApiError

COOKIE = "X-FMS-Session-Key"
_PATH = "/Streaming_SSL"
_FOLLOWED = "redirected"  # a parameter of the Location, which is an equivalent URL and valid only with the cookie
_UNAUTHORIZED = "<html><head><title>401</title></head><body><h1>Unauthorized</h1></body></html>"


def kind_of(request: Request) -> str:
    """Return `container` for a request that can get the file, `container_key` for one that only gets the cookie."""
    return "container" if _key(request.headers) else "container_key"


def stream(engine: Engine, request: Request) -> Response:
    """Answer a GET of a container's URL."""
    session = engine.sessions.of_stream(PurePath(request.url.path).stem)
    if session is None:
        return HTMLResponse(_UNAUTHORIZED, 401)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    known = scheme.lower() == "bearer" and token.strip() == session.token
    if _key(request.headers) != session.stream_key:
        if _FOLLOWED in request.query_params or not (known or engine.behaviour.authenticated_stream == 2):
            return HTMLResponse(_UNAUTHORIZED, 401)
        if engine.behaviour.redirects_streams:
            headers = {"Location": f"{request.url}&{_FOLLOWED}=1"}
            headers["Set-Cookie"] = f"{COOKIE}={session.stream_key}; Path={_PATH}; HttpOnly"
            return Response(status_code=302, headers=headers)
    with engine.store.reading() as db:
        file = container_files.read(db, session.streams[PurePath(request.url.path).stem], with_content=True)
    return Response(file.content, media_type=file.mime)


def upload(call: ApiCall) -> dict[str, Any]:
    """POST …/containers/{field} or {field}/{rep}, multipart with one part `upload`. Raises ApiError 960, 102, 101, …"""
    layout = call.layout()
    table = call.engine.store.table(call.database, layout.table)
    name, repetition = call.path["field"], call.path.get("repetition", "1")
    field = table.fields.get(name)
    if name not in layout.fields or field is None or field.type != "container":
        raise ApiError(102)
    if not repetition.isdecimal() or not 1 <= int(repetition) <= field.repetitions:
        raise ApiError(102)
    file = _part(call.headers.get("content-type", ""), call.raw_body)
    return writing.put_file(call, table, name, int(repetition), file)


def _part(content_type: str, body: bytes) -> StoredContainerFile:
    """Return the part named `upload` (RFC 7578)."""
    boundary = _header("content-type", content_type).get_param("boundary")
    if boundary:
        for part in body.split(b"--" + str(boundary).encode())[1:-1]:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            lines = dict(line.split(":", 1) for line in head.decode("utf-8").split("\r\n") if ":" in line)
            headers = {key.strip().lower(): value.strip() for key, value in lines.items()}
            disposition = _header("content-disposition", headers.get("content-disposition", ""))
            if disposition.get_param("name", header="content-disposition") == "upload":
                mime = headers.get("content-type", "application/octet-stream")
                return StoredContainerFile(content.removesuffix(b"\r\n"), disposition.get_filename("") or "", mime)
    raise ApiError(960, "Upload payload must contain a part named 'upload'.")


def _header(name: str, value: str) -> Message:
    message = Message()
    message[name] = value
    return message


def _key(headers: Mapping[str, str]) -> str:
    """Return the cookie's value. Some clients send back the whole text of Set-Cookie, with attributes."""
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""
