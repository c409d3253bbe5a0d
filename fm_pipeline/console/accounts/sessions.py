"""The sessions of people: what begins and ends one, and whose it is.

A session ends at its next request when its account is not active any more or loses its role (for another one too), and
when the password changes.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone

from fm_pipeline.console.accounts.models import Login, NexusUser
from fm_pipeline.console.accounts.roles import Role, role_of
from fm_pipeline.console.address import django_address

ROLE = "role"  # in the session: the one at the login
_BROWSER_LENGTH = 200


def connect() -> None:
    """Called once, when Django has loaded the models."""
    user_logged_in.connect(_begin, dispatch_uid="session")


def role_of_session(request: HttpRequest) -> Role | None:
    """Return the role of the account of a session; end the session if it has none or another one than at the login."""
    user = request.user
    role = role_of(user) if isinstance(user, NexusUser) else None
    if role is None or role != request.session.get(ROLE):
        if SESSION_KEY in request.session or user.is_authenticated:
            request.session.flush()
        request.user = AnonymousUser()
        return None
    return role


def own_sessions(user: NexusUser) -> list[Login]:
    """Return the sessions of an account that last, newest first."""
    lasting = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    return list(Login.objects.filter(account_id=user.pk, session_key__in=lasting).order_by("-at"))


def end_other_sessions(user: NexusUser, current_key: str | None) -> int:
    """End all sessions of an account but the current one; return how many."""
    keys = [each.session_key for each in own_sessions(user) if each.session_key != current_key]
    Session.objects.filter(session_key__in=keys).delete()
    return len(keys)


def _begin(request: HttpRequest, user: NexusUser, **_: Any) -> None:
    request.session[ROLE] = role_of(user)
    request.session.save()  # the key of a new session is made here
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
    Login.objects.exclude(session_key__in=Session.objects.values("session_key")).delete()
    Login.objects.create(
        session_key=request.session.session_key or "",
        account_id=user.pk,
        address=django_address(request),
        browser=request.headers.get("User-Agent", "")[:_BROWSER_LENGTH].replace("\0", ""),
    )
