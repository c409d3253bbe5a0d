"""Every page asks for a login, and every change for an admin, unless the view says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from fm_pipeline.console.accounts.roles import Role, role_of

View = TypeVar("View", bound=Callable[..., Any])
SAFE = {"GET", "HEAD", "OPTIONS"}


def open_to_all(view: View) -> View:
    """Let a view be called without a login; it decides by itself."""
    view.open_to_all = True  # type: ignore[attr-defined]
    return view


def admins_only(view: View) -> View:
    """Refuse a viewer, also with GET."""
    view.admins_only = True  # type: ignore[attr-defined]
    return view


class RoleMiddleware:
    """Sets `request.role`, and refuses what the role may not do. What is not declared is closed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        request.role = role_of(user) if user.is_authenticated else None  # type: ignore[attr-defined, arg-type]
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: Any, *_: Any) -> HttpResponse | None:
        """Return the refusal, or None if the view may be called."""
        if getattr(view, "open_to_all", False):
            return None
        role: Role | None = request.role  # type: ignore[attr-defined]
        if role is None:
            if request.headers.get("HX-Request"):  # a part of a page: the browser goes to the login as a whole
                return HttpResponse(status=401, headers={"HX-Redirect": f"/login/?next={request.path}"})
            return redirect_to_login(request.get_full_path())
        if role is not Role.ADMIN and (request.method not in SAFE or getattr(view, "admins_only", False)):
            return render(request, "console/refused.html", status=403)
        return None
