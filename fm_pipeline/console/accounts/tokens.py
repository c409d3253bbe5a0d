"""API tokens: `Authorization: Bearer …` of a machine instead of a person's login.

A token is 32 random bytes, so its SHA-256 is stored and no slow hash is needed: nobody can try all of them. It ends at
its expiry, when it is revoked, and when its owner is no administrator any more.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.core.cache import cache
from django.http import HttpRequest
from django.utils import timezone
from starlette.requests import HTTPConnection

from fm_pipeline.console.accounts.models import ApiToken, NexusUser
from fm_pipeline.console.accounts.roles import Role, role_of
from fm_pipeline.console.address import connection_address, django_address
from fm_pipeline.console.audit import NOBODY, note_for
from fm_pipeline.errors import RequestError

PREFIX = "fmc_"  # by which people and scanners of secrets recognize one
LONGEST_DAYS = 366
_making = threading.Lock()  # two clicks are not two tokens of one name
_USE_RECORDED = timedelta(minutes=1)  # no write for each request
_REFUSAL_RECORDED_SECONDS = 3600  # a machine with an old token asks again and again


class TokenScope(StrEnum):
    """What a token may do."""

    READ = "read"  # what a viewer may
    DICOM = "dicom"  # the hospital's ten calls, and nothing else
    ADMIN = "admin"  # everything


class TokenRefused(RequestError):
    """The header names a token that does not count (401)."""


@dataclass(frozen=True)
class TokenVisitor:
    """Who asks by a token.

    Attributes:
        account: the owner.
        name: of the token.
    """

    account: NexusUser
    name: str
    scope: TokenScope

    @property
    def username(self) -> str:
        """The owner's."""
        return self.account.get_username()

    @property
    def actor(self) -> str:
        """For the audit trail and for who asked for a run."""
        return f"{self.username} (token {self.name})"

    @property
    def role(self) -> Role | None:
        """On pages and in Dagster; None for a token of the ten calls."""
        return {TokenScope.READ: Role.VIEWER, TokenScope.ADMIN: Role.ADMIN}.get(self.scope)

    def allows(self, scope: TokenScope) -> bool:
        """Return whether it may do what a token of this scope may."""
        return self.scope in (scope, TokenScope.ADMIN)


def make_token(owner: NexusUser, name: str, scope: TokenScope, days: int) -> str:
    """Make a token and return it; it cannot be read again.

    Args:
        days: until it expires, at most `LONGEST_DAYS`.

    Raises:
        RequestError: the name is empty, too long or taken by a token in force, or the days are none.
    """
    now = timezone.now()
    if not 1 <= days <= LONGEST_DAYS:
        raise RequestError(f"A token lasts between 1 and {LONGEST_DAYS} days.", remedy="Give another number of days.")
    if not name.strip() or len(name) > ApiToken.NAME_LENGTH or not name.isprintable():
        raise RequestError("A token needs a name of at most 60 characters.", remedy="Name the machine that uses it.")
    secret = PREFIX + secrets.token_urlsafe(32)
    with _making:
        if ApiToken.objects.filter(name=name.strip(), revoked_at=None, expires_at__gt=now).exists():
            raise RequestError("There is a token of this name.", remedy="Revoke it first, or give another name.")
        ApiToken.objects.create(
            name=name.strip(),
            digest=_digest(secret),
            scope=scope.value,
            owner_id=owner.pk,
            owner_name=owner.get_username(),
            expires_at=now + timedelta(days=days),
        )
    return secret


def revoke_token(token_id: int) -> ApiToken:
    """End a token and return it.

    Raises:
        RequestError: there is none.
    """
    token = ApiToken.objects.filter(pk=token_id).first()
    if token is None:
        raise RequestError("There is no such token.", code=404)
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
    return token


def token_visitor(request: HttpRequest | HTTPConnection) -> TokenVisitor | None:
    """Return who asks by a token; None if the request has none. Cookies then do not count.

    Asks the database: not for an event loop.

    Raises:
        TokenRefused: the token is unknown, expired or revoked, or its owner is no administrator any more.
    """
    if isinstance(request, HttpRequest) and hasattr(request, "token"):  # the middleware has asked
        found: TokenVisitor | None = request.token
        return found
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer":
        return None
    address = django_address(request) if isinstance(request, HttpRequest) else connection_address(request)
    return _find(secret.strip(), address)


def _find(secret: str, address: str) -> TokenVisitor:
    token = ApiToken.objects.filter(digest=_digest(secret)).first()
    if token is None:
        raise _refused("This token is unknown.", NOBODY, address)
    now = timezone.now()
    actor = f"{token.owner_name} (token {token.name})"
    if token.revoked_at is not None:
        raise _refused("This token was revoked.", actor, address)
    if token.expires_at <= now:
        raise _refused("This token has expired.", actor, address)
    owner = NexusUser.objects.filter(pk=token.owner_id).first()
    if owner is None or role_of(owner) is not Role.ADMIN:
        raise _refused("The owner of this token is no administrator any more.", actor, address)
    _record_use(token, now)
    return TokenVisitor(owner, token.name, TokenScope(token.scope))


def _record_use(token: ApiToken, now: datetime) -> None:
    if token.last_used_at is None or now - token.last_used_at > _USE_RECORDED:
        token.last_used_at = now
        token.save(update_fields=["last_used_at"])


def _refused(what: str, actor: str, address: str) -> TokenRefused:
    if cache.add(_digest(f"{what} {actor} {address}"), 1, _REFUSAL_RECORDED_SECONDS):
        note_for(actor, address, "token", "refused", what)
    return TokenRefused(what, code=401, meaning="Nothing was done.", remedy="Ask an administrator for a new token.")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
