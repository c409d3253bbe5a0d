"""The audit trail of the console: who did what, when, from where, with which result. Nothing unrecorded is done.

`note` raises if the row cannot be written, so a page calls it before it answers with what it has read, and before or
with what it changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.cache import cache
from django.http import HttpRequest

from fm_pipeline.console.address import django_address
from fm_pipeline.console.database import console_url
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.db.audit import AuditAction, AuditOutcome, asked_from, audited, record

NOBODY = "nobody"  # without a login
_REFUSAL_SECONDS = 60  # in which the same refusal is recorded once, so that nobody fills the table


def actor_of(request: HttpRequest) -> str:
    """Return the account of a session; the owner and the name of a token."""
    token = getattr(request, "token", None)
    return token.actor if token else request.user.get_username() or NOBODY


def note(
    request: HttpRequest, action: AuditAction, outcome: AuditOutcome, detail: str = "", *, run_id: str | None = None
) -> None:
    """Add a row for what a request does.

    Args:
        detail: one of our own sentences with ids; no patient data.

    Raises:
        DatabaseError: the row was not written.
    """
    note_for(actor_of(request), django_address(request), action, outcome, detail, run_id=run_id)


@contextmanager
def noted_cancel(request: HttpRequest, about: str, *, run_id: str) -> Iterator[None]:
    """Add a row before a run is cancelled, and one for how that ended; see `audited`."""
    url, actor = console_url(PIPELINE), actor_of(request)
    with asked_from(django_address(request)), audited(url, actor=actor, action="cancel", run_id=run_id, about=about):
        yield


def note_refusal(request: HttpRequest, why: str) -> None:
    """Add a row for a request that the role or the scope does not allow: method and page, nothing that was typed.

    Raises:
        DatabaseError: the row was not written.
    """
    match = request.resolver_match
    page = match.view_name if match else "unknown"
    detail = f"{request.method} {page}: {why}"
    key = hashlib.sha256(f"{actor_of(request)} {django_address(request)} {detail}".encode()).hexdigest()
    if cache.add(f"refusal-{key}", 1, _REFUSAL_SECONDS):
        note(request, "access", "refused", detail)


def note_for(
    username: str,
    address: str,
    action: AuditAction,
    outcome: AuditOutcome,
    detail: str = "",
    *,
    run_id: str | None = None,
) -> None:
    """Add a row; the same where there is no request of Django. It waits for the database: not for an event loop.

    Args:
        username: who asks.
        address: from where, as `address.connection_address` returns it.

    Raises:
        DatabaseError: the row was not written.
    """
    url = console_url(PIPELINE)
    record(url, actor=username, action=action, outcome=outcome, run_id=run_id, detail=detail, address=address)
