"""Who a request of the door is from: the account of its session, as Django's own pages see it."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from starlette.requests import HTTPConnection

from fm_pipeline.console.accounts.models import NexusUser
from fm_pipeline.console.accounts.roles import role_of
from fm_pipeline.console.door.guard import Visitor


@sync_to_async
def find_visitor(connection: HTTPConnection) -> Visitor | None:
    """Return the account; None without a session, after its end, or if the account has no role any more."""
    key = connection.cookies.get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    request = HttpRequest()
    request.session = SessionStore(key)
    user = get_user(request)
    role = role_of(user) if isinstance(user, NexusUser) else None
    return Visitor(user.get_username(), role) if role else None
