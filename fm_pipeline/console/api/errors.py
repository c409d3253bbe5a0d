"""How errors are answered: always as JSON, with sentences of ours, never with the text of another error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from fm_pipeline.errors import DicomError, PipelineError, RequestError, Stop, unforeseen

_log = logging.getLogger(__name__)


def error_answer(
    code: int,
    message: str,
    *,
    meaning: str = "Nothing was changed.",
    remedy: str = "",
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """Return the answer of a request that was not carried out."""
    detail = {"code": code, "message": message, "meaning": meaning, "remedy": remedy}
    return JsonResponse({"success": False, "message": message, "error": detail}, status=code, headers=headers)


def handle_errors(api: NinjaAPI) -> None:
    """Register the handlers."""
    handlers: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
        AuthenticationError: _not_logged_in,
        HttpError: lambda _, error: error_answer(error.status_code, str(error)),
        ValidationError: _not_valid,
        Http404: lambda *_: error_answer(404, "There is no such call."),
        SuspiciousOperation: _suspicious,
        UnreadablePostError: lambda *_: error_answer(400, "The request ended too early."),
        PipelineError: _pipeline_error,
        Exception: _unforeseen,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def as_json(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer a wrong method as JSON too."""

    @wraps(view)
    def wrapped(*args: Any, **kwargs: Any) -> HttpResponse:
        response = view(*args, **kwargs)
        if response.status_code != 405:
            return response
        allowed = response.headers["Allow"]
        return error_answer(405, f"The method must be {allowed}.", headers={"Allow": allowed})

    return wrapped


def unknown_call(*_: Any, **__: Any) -> HttpResponse:
    """Answer a request for a call that does not exist."""
    return error_answer(404, "There is no such call.", remedy="/api/sync/docs lists all calls.")


def _not_logged_in(*_: Any) -> HttpResponse:
    return error_answer(401, "Not logged in.", remedy="Log in, or send a token: Authorization: Bearer TOKEN.")


def _not_valid(_: HttpRequest, error: ValidationError) -> HttpResponse:
    """Name the fields and what is wrong with them, never what was sent."""
    faults = "; ".join(f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors)
    return error_answer(400, f"The request is not valid. {faults}.")


def _place(location: tuple[str | int, ...]) -> str:
    return ".".join(map(str, location[2:] or location[1:])) or "body"


def _suspicious(_: HttpRequest, error: SuspiciousOperation) -> HttpResponse:
    too_big = isinstance(error, RequestDataTooBig)
    return error_answer(400, "The request is too large." if too_big else "The request is not valid.")


def _pipeline_error(_: HttpRequest, error: PipelineError) -> HttpResponse:
    code = 500
    if isinstance(error, RequestError):
        code = error.code
    elif isinstance(error, Stop | DicomError):  # another process is at work, or the directory is not there now
        code = 409
    return error_answer(code, error.what, meaning=error.meaning, remedy=error.remedy)


def _unforeseen(_: HttpRequest, error: Exception) -> HttpResponse:
    said = unforeseen(error)
    _log.error("%s", said)
    return error_answer(
        500,
        "An error that was not foreseen.",
        meaning="Its text may hold patient data, so it is not repeated here.",
        remedy="The log of the console has the class of the error and the places in the code.",
    )
