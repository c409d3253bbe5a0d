"""The envelope of every response, and error responses: FileMaker code, text, HTTP status.

Source: Claris FileMaker Data API Guide, "Error responses"; statuses as public clients report them from real servers.
"""

from __future__ import annotations

import json

from starlette.responses import Response

_TEXTS = {
    9: ("Insufficient privileges", 500),
    10: ("HTTP Authorization header or OAuth headers are missing.", 401),
    101: ("Record is missing", 500),
    102: ("Field is missing", 500),
    104: ("Script is missing", 500),
    105: ("Layout is missing", 500),
    112: ("Window is missing", 500),
    201: ("Field cannot be modified", 500),
    212: ("Invalid user account and/or password; please try again", 401),
    214: ("Too many login attempts, account locked out", 401),
    301: ("Record is in use by another user", 500),
    306: ("Record modification ID does not match", 500),
    400: ("Find criteria are empty", 500),
    401: ("No records match the request", 500),
    500: ("Date value does not meet validation entry options", 500),
    501: ("Time value does not meet validation entry options", 500),
    802: ("Unable to open file", 500),
    812: ("Exceeded host’s capacity", 500),
    951: ("An unexpected error occurred", 500),
    952: ("Invalid FileMaker Data API token (*)", 401),
    953: ("Exceeded limit on data the FileMaker Data API and OData can transmit", 500),
    956: ("Maximum number of database sessions exceeded", 500),
    958: ("Parameter missing", 400),
    960: ("Parameter is invalid", 400),
    1630: ("URL format is incorrect", 404),
    1700: ("Resource doesn't exist", 404),
    1704: ("Resource doesn't support the specified HTTP verb", 405),
    1705: ("Required HTTP header wasn't specified", 415),
    1708: ("Parameter value is invalid", 400),
    1710: ("JSON input isn't syntactically valid", 400),
}


class ApiError(Exception):
    """A response with a code other than 0.

    Args:
        code: FileMaker's error number.
        message: its text, if it differs from the usual one.
        status: the HTTP status, if it differs from the usual one.
    """

    def __init__(self, code: int, message: str | None = None, status: int | None = None) -> None:
        text, usual = _TEXTS.get(code, ("Unknown error", 500))
        self.code = code
        self.message = message or text
        self.status = status or usual
        super().__init__(f"{code} {self.message}")


def success_response(response: object, *, headers: dict[str, str] | None = None) -> Response:
    """Return HTTP 200 with code 0."""
    return _envelope(response, 0, "OK", 200, headers)


def error_response(error: ApiError) -> Response:
    """Return the response for an error: an empty `response` and the code as text."""
    return _envelope({}, error.code, error.message, error.status)


def _envelope(
    response: object, code: int, message: str, status: int, headers: dict[str, str] | None = None
) -> Response:
    body = {"response": response, "messages": [{"code": str(code), "message": message}]}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json; charset=utf-8")
