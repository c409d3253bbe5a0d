"""Every page asks for a login, and every change for an admin, unless the view says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from django.contrib import messages
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render

from fm_pipeline.console.accounts.roles import Role
from fm_pipeline.console.accounts.sessions import role_of_session
from fm_pipeline.console.accounts.tokens import TokenRefused, token_visitor
from fm_pipeline.console.address import django_address
from fm_pipeline.console.audit import note_refusal
from fm_pipeline.db.audit import asked_from

View = TypeVar("View", bound=Callable[..., Any])
SAFE = {"GET", "HEAD", "OPTIONS"}
REFUSED_SCOPE = "The scope of this token does not allow this."


def open_to_all(view: View) -> View:
    """Let a view be called without a login; it decides by itself."""
    view.open_to_all = True  # type: ignore[attr-defined]
    return view


def admins_only(view: View) -> View:
    """Refuse a viewer, also with GET."""
    view.admins_only = True  # type: ignore[attr-defined]
    return view


class RoleMiddleware:
    """Sets `request.role` and `request.token`, and refuses what the role may not do. What is not declared is closed.

    With a token in the header, cookies do not count, and no CSRF token is asked for: no other site can send the header.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            token = token_visitor(request)
        except TokenRefused as refused:
            return _for_machines(refused.code, refused.what)
        request.token = token  # type: ignore[attr-defined]
        if token is None:
            request.role = role_of_session(request)  # type: ignore[attr-defined]
        else:
            request.session = SessionStore()
            request.user, request.role = token.account, token.role  # type: ignore[attr-defined]
            request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]  # as Django's test client does
        with asked_from(django_address(request)):
            return self._get_response(request)

    def process_view(self, request: HttpRequest, view: Any, *_: Any) -> HttpResponse | None:
        """Return the refusal, or None if the view may be called."""
        if getattr(view, "open_to_all", False):
            return None
        role: Role | None = request.role  # type: ignore[attr-defined]
        enough = role is Role.ADMIN or (request.method in SAFE and not getattr(view, "admins_only", False))
        if request.token is not None:  # type: ignore[attr-defined]
            return None if role and enough else _refused_token(request)
        if role is None:
            return _to_login(request)
        return None if enough else _refused_page(request)


def _to_login(request: HttpRequest) -> HttpResponse:
    """Lead to the login, and from there back to the page that the visitor had open."""
    page = request.get_full_path()
    if request.method not in SAFE:
        messages.warning(
            request, "Your session had ended, so nothing was carried out. Log in, fill in the page again, and send it."
        )
        page = _path_here(request, request.headers.get("Referer", ""))
    if request.headers.get("HX-Request"):  # a part of a page: the browser goes to the login as a whole
        page = _path_here(request, request.headers.get("HX-Current-URL", ""))
        return HttpResponse(status=401, headers={"HX-Redirect": f"/login/?next={quote(page)}"})
    return redirect(f"/login/?next={quote(page)}")


def _path_here(request: HttpRequest, url: str) -> str:
    """Return path and query of a page of this site; empty for any other page."""
    try:
        page = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit(("", "", page.path, page.query, "")) if page.netloc == request.get_host() else ""


def _refused_page(request: HttpRequest) -> HttpResponse:
    note_refusal(request, "for administrators only.")
    return render(request, "console/refused.html", status=403)


def _refused_token(request: HttpRequest) -> HttpResponse:
    note_refusal(request, REFUSED_SCOPE)
    return _for_machines(403, REFUSED_SCOPE)


def _for_machines(status: int, message: str) -> HttpResponse:
    error = {"code": status, "message": message}
    answer = JsonResponse({"success": False, "message": message, "error": error}, status=status)
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    return answer
