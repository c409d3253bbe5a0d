"""Who a request of the gateway is from: the account of its session, as Django's own pages see it."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection as database
from django.http import HttpRequest
from starlette.requests import HTTPConnection

from fm_pipeline.console.accounts.sessions import role_of_session
from fm_pipeline.console.accounts.tokens import TokenRefused, token_visitor
from fm_pipeline.console.gateway.visitors import Visitor


async def find_visitor(connection: HTTPConnection) -> Visitor | None:
    """Return the account of a session or token.

    None without one, after its end, if the account has lost its role, and for a token of the ten calls only.

    Raises:
        django.db.Error: the database does not answer.
    """
    if not connection.cookies.get(settings.SESSION_COOKIE_NAME) and "authorization" not in connection.headers:
        return None
    return await sync_to_async(_find, thread_sensitive=False)(connection)


def _find(connection: HTTPConnection) -> Visitor | None:
    try:
        return _account(connection)
    finally:
        database.close()  # to the pool: no request of Django's ends here that would do it


def _account(connection: HTTPConnection) -> Visitor | None:
    try:
        token = token_visitor(connection)
    except TokenRefused:
        return None
    if token is not None:
        return Visitor(token.actor, token.role or "", by_token=True)
    request = HttpRequest()
    request.session = SessionStore(connection.cookies.get(settings.SESSION_COOKIE_NAME))
    request.user = get_user(request)
    role = role_of_session(request)
    return Visitor(request.user.get_username(), role) if role else None
