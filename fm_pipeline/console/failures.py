"""What a visitor sees when something fails: what happened, what it means, what to do; never a stack trace."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from fm_pipeline.console.audit import note_refusal
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.errors import PipelineError, RequestError, Stop, unforeseen

REFUSED = "Nothing was changed."
_DJANGOS = (Http404, PermissionDenied, BadRequest, SuspiciousOperation)
_log = logging.getLogger(__name__)


class FailureMiddleware:
    """Shows an error of ours as a page. Of any other error it shows and logs the class and the places only."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, fault: Exception) -> HttpResponse | None:
        """Return the page; None for what Django answers itself, such as 404."""
        if isinstance(fault, _DJANGOS):
            return None
        error = fault if isinstance(fault, PipelineError) else unforeseen(fault)
        status = failure_status(error)
        _log.log(logging.ERROR if status >= 500 else logging.INFO, "%s: %s", request.path, error)
        return failure_page(request, status, error.what, error.meaning, error.remedy)


def failure_status(error: PipelineError) -> int:
    """Return the status of the answer that shows an error."""
    return error.code if isinstance(error, RequestError) else 409 if isinstance(error, Stop) else 500


def failure_page(request: HttpRequest, status: int, what: str, meaning: str = "", remedy: str = "") -> HttpResponse:
    """Return a page with the three sentences; for a part of a page, only the part."""
    whole = not request.headers.get("HX-Request")
    template = "console/failure.html" if whole else "console/failure_part.html"
    return render(request, template, {"what": what, "meaning": meaning, "remedy": remedy}, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400."""
    return failure_page(request, 400, "The request cannot be read.", REFUSED, "Go back and try it again.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403."""
    return failure_page(request, 403, "This is refused.", REFUSED, "Ask an administrator of Nexus.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    return failure_page(request, 404, "There is no such page.", "", "Choose a page from the menu.")


def no_csrf_token(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that did not come from a page of this site, or from one that was open across a login."""
    if getattr(request, "role", None):  # else nobody has an account, and anybody could fill the audit trail
        note_refusal(request, "the form did not come from a page of this site.")
    return failure_page(
        request,
        403,
        "This form did not come from a page of this site, or the page was opened before the last login.",
        REFUSED,
        "Load the page again, then send the form again.",
    )


def server_error(_: HttpRequest) -> HttpResponse:
    """Answer 500, where even the account of the session cannot be read."""
    context = {"support_contact": PIPELINE.support_contact}
    return HttpResponse(render_to_string("console/server_error.html", context), status=500)
