"""Sync: start one, see what it did or what waits, and let one go on that waits. Each works as a run of Dagster."""

from __future__ import annotations

import hmac
from collections import Counter
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from fm_pipeline.console.audit import note
from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.sync.decisions import MEANINGS
from fm_pipeline.status.syncs import RecordedSync, read_sync

JOB, OP = "filemaker_sync", "sync_nexus"
ROWS = 1000  # of the decisions that are listed; the command lists all
_URL = PIPELINE.nexus_database_url.get_secret_value()


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the newest sync."""
    return _page(request)


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Start a sync, or show the one that is under way."""
    if already := runs().unfinished([JOB]):
        return redirect("live-run", already[0].run_id)
    return _launch(request, {}, "Sync.")


@require_POST
def confirm(request: HttpRequest, sync_id: str) -> HttpResponse:
    """Let a sync go on that waits, if its words were typed.

    Raises:
        RequestError: it does not wait, or a later one has taken its place (409).
    """
    found, typed = read_sync(_URL, str(sync_id)), request.POST.get("confirm", "").strip()
    if found.status != "waits" or not found.is_newest:
        raise RequestError(
            "This sync does not wait any more.",
            code=409,
            meaning="Nothing was started.",
            remedy="Look at the page Sync for the newest one.",
        )
    if not hmac.compare_digest(typed.encode(), found.confirmation.encode()):
        note(request, "sync", "refused", f"Other words than asked for were typed for the sync {found.id}.")
        return _page(request, "These are not the words. Nothing was started.", status=400)
    if already := runs().unfinished([JOB]):
        return redirect("live-run", already[0].run_id)
    return _launch(request, {"plan_id": found.id, "confirm": found.confirmation}, f"Sync {found.id}, confirmed.")


def _launch(request: HttpRequest, config: dict[str, str], about: str) -> HttpResponse:
    ops = {"ops": {OP: {"config": config}}} if config else {}
    run_id = runs().launch(request.user.get_username(), JOB, ops)
    note(request, "launch", "done", about, run_id=run_id)
    return redirect("live-run", run_id)


def _page(request: HttpRequest, wrong: str = "", *, status: int = 200) -> HttpResponse:
    try:
        newest: RecordedSync | None = read_sync(_URL)
    except RequestError:  # there is none yet
        newest = None
    context: dict[str, Any] = {"sync": newest, "wrong": wrong, "allowed": PIPELINE.filemaker_sync_changes}
    if newest:
        counts = Counter(each.decision for each in newest.decisions)
        listed = sorted(newest.decisions, key=lambda each: (not each.is_conflict, each))
        context |= {
            "decisions": listed[:ROWS],
            "more": len(listed) > ROWS,
            "counts": [(decision, MEANINGS[decision], rows) for decision, rows in sorted(counts.items())],
            "deletions": sum(map(len, newest.deletions.values())),
            "conflicts": sum(each.is_conflict for each in newest.decisions),
        }
    return render(request, "console/sync.html", context, status=status)


urlpatterns = [
    path("", page, name="sync"),
    path("start", start, name="start-sync"),
    path("<uuid:sync_id>/confirm", confirm, name="confirm-sync"),
]
