"""What django-axes needs to know of us: whom it counts wrong passwords for, and the page of a lock-out.

A name is counted together with the address, so that nobody can lock an administrator out from elsewhere.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from axes.helpers import get_client_username
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from fm_pipeline.console.address import UNKNOWN, django_address
from fm_pipeline.console.failures import failure_page


def counted_address(request: HttpRequest) -> str | None:
    """Return the address, None if it is unknown."""
    address = django_address(request)
    return None if address == UNKNOWN else address


def counted_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """Return a digest of the name: what was typed there may be a password, and is not stored."""
    name = str((credentials or request.POST).get("username", ""))
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()


def locked_out(request: HttpRequest, _response: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """Return the page that says when to try again (429)."""
    attempts = AccessAttempt.objects.filter(
        username=get_client_username(request, credentials), ip_address=counted_address(request)
    )
    cool_off = timedelta(hours=settings.AXES_COOLOFF_TIME)
    last = attempts.aggregate(last=Max("attempt_time"))["last"] or timezone.now()
    until = timezone.localtime(last + cool_off)
    answer = failure_page(
        request,
        429,
        "Too many wrong passwords for this name.",
        f"From your address nobody can log in with this name until {until:%H:%M:%S}. Other addresses are not affected.",
        f"Try again after {until:%H:%M:%S}. If the password is lost, an administrator of Nexus sets a new one.",
    )
    answer.headers["Retry-After"] = str(max(1, int((until - timezone.now()).total_seconds()) + 1))
    return answer
