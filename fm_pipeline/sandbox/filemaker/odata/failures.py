"""Error responses of the OData API: HTTP status, code as text, message; as JSON or XML.

Source: codes and statuses that published clients keep in their fixtures, and reports from real servers.
"""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from starlette.responses import Response

from fm_pipeline.sandbox.filemaker.responses import ApiError

_JSON = "application/json;charset=utf-8"
# The status of FileMaker's own codes; others are 500.
_STATUSES = {9: 403, 104: 404, 212: 401, 214: 401, 301: 409, 303: 423, 802: 501, 812: 503, 953: 503}
# The web server's part answers for a file that cannot be opened, and it writes XML whatever was asked for.
_ALWAYS_XML = ("802",)


class ServiceError(Exception):
    """A response with an error.

    Args:
        status: of HTTP.
        code: negative numbers are the OData engine's own, others FileMaker's.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(f"{code} {message}")


def syntax(text: str) -> ServiceError:
    """Return the error for a URL or option that cannot be parsed from this text on."""
    return ServiceError(400, "-1002", f"Error: syntax error in URL at: '{text}'")


def unknown_field(name: str) -> ServiceError:
    """Return the error for a field that the table does not have."""
    return ServiceError(400, "8309", f"The field named '{name}' does not exist in a specified table (9)")


def wrong_types() -> ServiceError:
    """Return the error for a comparison of values of different types."""
    return ServiceError(400, "8309", "The types of the two sides do not fit (9)")


def unknown_table(name: str) -> ServiceError:
    """Return the error for an entity set that the file does not have."""
    return ServiceError(404, "-1010", f"The table named '{name}' does not exist")


def no_record() -> ServiceError:
    """Return the error for a key that no record has."""
    return ServiceError(404, "-1023", "Specified record not found")


def of_filemaker(error: ApiError) -> ServiceError:
    """Return the error for a code of FileMaker."""
    return ServiceError(_STATUSES.get(error.code, 500), str(error.code), error.message)


def failure_response(error: ServiceError, wants_xml: bool = False) -> Response:
    """Return the response for an error."""
    if wants_xml or error.code in _ALWAYS_XML:
        body = (
            '<?xml version="1.0" encoding="utf-8"?>'
            '<m:error xmlns:m="http://docs.oasis-open.org/odata/ns/metadata">'
            f"<m:code>{error.code}</m:code><m:message>{escape(error.message)}</m:message></m:error>"
        )
        return Response(body, error.status, media_type="application/xml;charset=utf-8")
    headers = {"WWW-Authenticate": 'Basic realm="FileMaker"'} if error.status == 401 else None
    text = json.dumps({"error": {"code": error.code, "message": error.message}}, ensure_ascii=False)
    return Response(text, error.status, headers, media_type=_JSON)
