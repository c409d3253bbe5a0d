"""Your account: the sessions that it has open, and the button that ends the others."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from fm_pipeline.console.accounts.middleware import open_to_all
from fm_pipeline.console.accounts.models import NexusUser
from fm_pipeline.console.accounts.sessions import end_other_sessions, own_sessions
from fm_pipeline.console.audit import note


def page(request: HttpRequest) -> HttpResponse:
    """List the sessions."""
    sessions = own_sessions(cast(NexusUser, request.user))
    return render(request, "console/account.html", {"sessions": sessions, "current": request.session.session_key})


@open_to_all  # a viewer too ends sessions of his own
@require_POST
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End all sessions of this account but this one."""
    if request.token is not None:  # type: ignore[attr-defined]  # a machine has no session, and may only read
        return HttpResponseForbidden("This is for people.", content_type="text/plain")
    if not request.role:  # type: ignore[attr-defined]
        return redirect("/login/")
    ended = end_other_sessions(cast(NexusUser, request.user), request.session.session_key)
    note(request, "session", "done", f"Ended the other sessions of this account: {ended}.")
    messages.success(request, f"Other sessions that were ended: {ended}.")
    return redirect("account")


urlpatterns = [
    path("", page, name="account"),
    path("end-sessions", end_sessions, name="end-sessions"),
]
