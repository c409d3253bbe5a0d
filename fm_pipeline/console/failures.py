"""What a visitor sees when something fails: what happened, what it means, what to do; never a stack trace."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django_htmx.http import HTMX_STOP_POLLING

from fm_pipeline.console.audit import note_refusal
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.errors import DatabaseError, PipelineError, RequestError, Stop, unforeseen

REFUSED = "Nothing was changed."
_API = "/api/sync/"  # its own handlers answer what happens inside of a call
_SAFE = {"GET", "HEAD"}
_SWAPPED = {200, HTMX_STOP_POLLING}
_SUPPORT = {"support_contact": PIPELINE.support_contact}
# Classes of SQLSTATE: connection exceptions, and a server that stops or starts.
_UNREACHABLE = ("08", "57P")
# Put into every part of a page that was answered: takes the sentences of `no_database` away again.
_ANSWERED = b'<div id="no-database" hx-swap-oob="true"></div>'
_DJANGOS = (Http404, PermissionDenied, BadRequest, SuspiciousOperation)
_log = logging.getLogger(__name__)


class FailureMiddleware:
    """Shows an error of ours as a page. Of any other error it shows and logs the class and the places only."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if response.status_code == 405 and request.method in _SAFE and not request.path.startswith(_API):
            return _only_a_form(request)
        if request.headers.get("HX-Request") and response.status_code in _SWAPPED and response.content:
            response.content += _ANSWERED
            response.headers["Content-Length"] = str(len(response.content))
        return response

    def process_exception(self, request: HttpRequest, fault: Exception) -> HttpResponse | None:
        """Return the page; None for what Django answers itself, such as 404."""
        if isinstance(fault, _DJANGOS):
            return None
        error = fault if isinstance(fault, PipelineError) else unforeseen(fault)
        status = failure_status(error)
        if is_unreachable(fault):
            _log.error("%s: %s", request.path, error)
            return no_database(request)
        _log.log(logging.ERROR if status >= 500 else logging.INFO, "%s: %s", request.path, error)
        return failure_page(request, status, error.what, error.meaning, error.remedy)


def failure_status(error: PipelineError) -> int:
    """Return the status of the answer that shows an error."""
    return error.code if isinstance(error, RequestError) else 409 if isinstance(error, Stop) else 500


def failure_page(request: HttpRequest, status: int, what: str, meaning: str, remedy: str) -> HttpResponse:
    """Return a page with the three sentences; for a part of a page, only the part."""
    whole = not request.headers.get("HX-Request")
    template = "console/failure.html" if whole else "console/failure_part.html"
    return render(request, template, {"what": what, "meaning": meaning, "remedy": remedy}, status=status)


def _only_a_form(request: HttpRequest) -> HttpResponse:
    """Answer 405, for example to somebody who opens the address of a button from the browser's history."""
    return failure_page(
        request,
        405,
        "This address takes only what a button sends.",
        REFUSED,
        "Open the page with the button from the menu.",
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400."""
    return failure_page(request, 400, "The request cannot be read.", REFUSED, "Go back and try it again.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403."""
    return failure_page(request, 403, "You may not do this.", REFUSED, "Ask an administrator of Nexus.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    return failure_page(
        request, 404, "There is no such page.", "", "Choose a page from the menu, or log in first if there is none."
    )


def no_csrf_token(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that did not come from a page of this site, or from one that was open across a login."""
    if getattr(request, "role", None):  # else nobody has an account, and anybody could fill the audit trail
        note_refusal(request, "the form did not come from a page of this site.")
    return failure_page(
        request,
        403,
        "This form did not come from a page of this site, or the page was opened before the last login.",
        REFUSED,
        "Go back, reload that page, and fill in the form again.",
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an error outside of the pages, where even the account of the session cannot be read."""
    fault = sys.exc_info()[1]
    unreachable = fault is not None and is_unreachable(fault)
    if request.path.startswith(_API):
        what = "The database of Nexus does not answer." if unreachable else "An error that was not foreseen."
        error = {"code": 500, "message": what}
        return JsonResponse({"success": False, "message": what, "error": error}, status=500)
    if unreachable:
        return no_database(request)
    return HttpResponse(render_to_string("console/server_error.html", _SUPPORT), status=500)


def is_unreachable(fault: BaseException) -> bool:
    """Return whether PostgreSQL cannot be reached, or stops: what ends by itself when it runs again."""
    if isinstance(fault, DatabaseError):
        return (fault.sqlstate or "").startswith(_UNREACHABLE)
    if not isinstance(fault, OperationalError | InterfaceError):
        return False
    return (getattr(fault.__cause__, "sqlstate", None) or "08000").startswith(_UNREACHABLE)


def no_database(request: HttpRequest) -> HttpResponse:
    """Answer 503. A page asks again by itself; a part of a page shows the sentences above the page and goes on."""
    if request.headers.get("HX-Request"):
        body = render_to_string("console/no_database_part.html", _SUPPORT)
    else:
        address = request.get_full_path() if request.method in _SAFE else ""
        body = render_to_string("console/no_database.html", {**_SUPPORT, "address": address})
    return HttpResponse(body, status=503, headers={"Retry-After": "10"})


def no_database_page() -> str:
    """Return the page of such an answer at an address of Dagster, whose pages cannot be put into another one."""
    return render_to_string("console/no_database.html", {**_SUPPORT, "reloads": True})
