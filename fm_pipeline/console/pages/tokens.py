"""API tokens: list, make, revoke. The secret is shown once, in the answer that makes it."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from fm_pipeline.console.accounts.middleware import admins_only
from fm_pipeline.console.accounts.models import ApiToken, NexusUser
from fm_pipeline.console.accounts.tokens import LONGEST_DAYS, TokenScope, make_token, revoke_token
from fm_pipeline.console.audit import note
from fm_pipeline.errors import RequestError

_SCOPES = [
    (TokenScope.READ, "Read: what a viewer may"),
    (TokenScope.DICOM, "DICOM: the hospital's ten calls"),
    (TokenScope.ADMIN, "Admin: everything"),
]


@admins_only
def page(request: HttpRequest) -> HttpResponse:
    """List all tokens, those in force first."""
    return _page(request)


@admins_only
@require_POST
def make(request: HttpRequest) -> HttpResponse:
    """Make a token and show it."""
    form = request.POST
    name, scope, days = form.get("name", ""), form.get("scope", ""), form.get("days", "")
    try:
        if scope not in set(TokenScope) or not (days.isascii() and days.isdigit()):
            raise RequestError("A token needs a scope and a number of days.", remedy="Choose them from the form.")
        secret = make_token(cast(NexusUser, request.user), name, TokenScope(scope), int(days[:6]))
    except RequestError as refused:
        return _page(request, refused=refused, status=refused.code)
    note(request, "token", "done", f"Made the token {name.strip()} with the scope {scope} for {int(days)} days.")
    return _page(request, secret=secret)


@admins_only
@require_POST
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    """Revoke a token."""
    token = revoke_token(token_id)
    note(request, "token", "done", f"Revoked the token {token.name} of {token.owner_name}.")
    return redirect("tokens")


def _page(
    request: HttpRequest, *, secret: str = "", refused: RequestError | None = None, status: int = 200
) -> HttpResponse:
    tokens = sorted(ApiToken.objects.order_by("-created_at"), key=lambda token: not token.is_in_force)
    shown = {"tokens": tokens, "secret": secret, "refused": refused, "scopes": _SCOPES, "longest": LONGEST_DAYS}
    answer = render(request, "console/tokens.html", shown, status=status)
    answer.headers["Cache-Control"] = "no-store"
    return answer


urlpatterns = [
    path("", page, name="tokens"),
    path("make", make, name="make-token"),
    path("<int:token_id>/revoke", revoke, name="revoke-token"),
]
