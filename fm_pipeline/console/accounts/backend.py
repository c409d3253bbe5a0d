"""Django's authentication backend for the accounts of Nexus."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from fm_pipeline.console.accounts.models import NexusUser
from fm_pipeline.console.accounts.roles import role_of


class NexusBackend(BaseBackend):
    """Accepts the password of an account that has a role."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> NexusUser | None:
        """Return the account, or None. An unknown name takes as long as a wrong password: it is tried on another one.

        Other accounts have the algorithm and the rounds of this Nexus; Django's own defaults may be slower or faster.
        """
        if username is None or password is None:
            return None
        user = NexusUser.objects.filter(username=username).first()
        if user is None:
            if other := NexusUser.objects.filter(is_active=True).order_by("-pk").first():
                other.check_password(password)
            return None
        return user if user.check_password(password) and role_of(user) else None

    def get_user(self, user_id: int) -> NexusUser | None:
        """Return the account of a session; None if it has been deactivated or has lost its role."""
        user = NexusUser.objects.filter(pk=user_id).first()
        return user if user and role_of(user) else None
