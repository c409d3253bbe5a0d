"""Who a request of the door is from: the account of its session, as Django's own pages see it."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.db import connection as database
from django.http import HttpRequest
from starlette.requests import HTTPConnection

from fm_pipeline.console.accounts.models import NexusUser
from fm_pipeline.console.accounts.roles import role_of
from fm_pipeline.console.door.visitors import Visitor


async def find_visitor(connection: HTTPConnection) -> Visitor | None:
    """Return the account; None without a session, after its end, or if the account has no role any more.

    Raises:
        django.db.Error: the database does not answer.
    """
    key = connection.cookies.get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    return await sync_to_async(_find, thread_sensitive=False)(key)


def _find(key: str) -> Visitor | None:
    try:
        return _account(key)
    except OperationalError:  # PostgreSQL was started again since the connection was made
        database.close()
        return _account(key)
    finally:
        database.close()  # to the pool: no request of Django's ends here that would do it


def _account(key: str) -> Visitor | None:
    request = HttpRequest()
    request.session = SessionStore(key)
    user = get_user(request)
    role = role_of(user) if isinstance(user, NexusUser) else None
    return Visitor(user.get_username(), role) if role else None


def address_of(connection: HTTPConnection) -> str:
    """Return from where a request comes."""
    return connection.client.host if connection.client else ""
