"""Logins, logouts, refused logins and lock-outs in the audit trail, by Django's signals.

A name that is no account is not recorded: people type their password into the wrong field. Of the attempts that a
lock-out refuses only the first is recorded, so that nobody fills the table.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from fm_pipeline.console.accounts.models import NexusUser
from fm_pipeline.console.address import django_address
from fm_pipeline.console.audit import NOBODY, note_for


def connect() -> None:
    """Called once, when Django has loaded the models; after django-axes, which marks the request of a lock-out."""
    user_logged_in.connect(_logged_in, dispatch_uid="audit")
    user_logged_out.connect(_logged_out, dispatch_uid="audit")
    user_login_failed.connect(_refused, dispatch_uid="audit")


def _logged_in(request: HttpRequest, user: NexusUser, **_: Any) -> None:
    note_for(user.get_username(), django_address(request), "login", "done")


def _logged_out(request: HttpRequest, user: NexusUser | None, **_: Any) -> None:
    if user is not None:
        note_for(user.get_username(), django_address(request), "logout", "done")


def _refused(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    if request is None:
        return
    name = str(credentials.get("username"))
    known = NexusUser.objects.filter(username=name).exists()
    actor, address = (name if known else NOBODY), django_address(request)
    locked = getattr(request, "axes_locked_out", False)
    if locked and getattr(request, "axes_failures_since_start", None) is None:  # it was locked out before
        return
    note_for(actor, address, "login", "refused", "" if known else "There is no such account.")
    if locked:
        note_for(actor, address, "lockout", "refused", "Too many wrong passwords for this name from this address.")
