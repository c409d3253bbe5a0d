"""Sync: start one, see what it did or what waits, let one go on that waits, and undo one.

Each works as a run of Dagster. Rows are shown by id and column, never with their values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from fm_pipeline.console.audit import note
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.launching import are_words, start_and_show
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.sync.decisions import MEANINGS, Decision
from fm_pipeline.status.syncs import RecordedSync, Undoing, read_sync, read_undoable_id, read_undoing

JOB, OP = "filemaker_sync", "sync_nexus"
# Conflicts about a row that Nexus does not have any more: a confirmation does not bring it back.
DELETED = ("deleted_conflict", "parent_deleted")
ROWS = 1000  # of the decisions that are listed; the command lists all
WRONG_WORDS = "These are not the words that the page shows. Nothing was started."
_URL = PIPELINE.nexus_database_url.get_secret_value()


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the newest sync."""
    return _page(request)


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Start a sync, or show the one that is under way."""
    return _launch(request, {}, "Sync.")


@require_POST
def confirm(request: HttpRequest, sync_id: str) -> HttpResponse:
    """Let a sync go on that waits, if its words were typed.

    Raises:
        RequestError: it does not wait, or a later one has taken its place (409).
    """
    found, typed = read_sync(_URL, str(sync_id)), request.POST.get("confirm", "")
    if found.status != "waits" or not found.is_newest:
        raise RequestError(
            "This sync does not wait any more.",
            code=409,
            meaning="Nothing was started.",
            remedy="Look at the page Sync for the newest one.",
        )
    if not _are_words(request, found, typed):
        return _page(request, WRONG_WORDS, status=400)
    return _launch(request, {"plan_id": found.id, "confirm": found.confirmation}, f"Sync {found.id}, confirmed.")


@require_safe
def undoing(request: HttpRequest, sync_id: str) -> HttpResponse:
    """Show what would be undone."""
    return _undo_page(request, read_undoing(PIPELINE, str(sync_id)))


@require_POST
def undo(request: HttpRequest, sync_id: str) -> HttpResponse:
    """Undo a sync, if its words were typed.

    Raises:
        RequestError: it has changed nothing, is undone, or rows were saved since (409).
    """
    shown, typed = read_undoing(PIPELINE, str(sync_id)), request.POST.get("confirm", "")
    if not _are_words(request, shown.sync, typed):
        return _undo_page(request, shown, WRONG_WORDS, status=400)
    if shown.saved_since:
        raise RequestError(
            "Rows that the sync has changed were saved since.",
            code=409,
            meaning="Nothing was started.",
            remedy="The page lists them. Correct them in Nexus, or restore a backup.",
        )
    config = {"undo_id": shown.sync.id, "confirm": shown.sync.confirmation}
    return _launch(request, config, f"Undo of the sync {shown.sync.id}.")


def _are_words(request: HttpRequest, found: RecordedSync, typed: str) -> bool:
    if are_words(typed, found.confirmation):
        return True
    note(request, "sync", "refused", f"Other words than asked for were typed for the sync {found.id}.")
    return False


def _launch(request: HttpRequest, config: dict[str, str], about: str) -> HttpResponse:
    return start_and_show(request, JOB, about, {OP: {"config": config}} if config else None)


def _undo_page(request: HttpRequest, shown: Undoing, wrong: str = "", *, status: int = 200) -> HttpResponse:
    counts = Counter((row.table, row.change) for row in shown.rows)
    context = {
        "sync": shown.sync,
        "wrong": wrong,
        "counts": [(table, change, rows) for (table, change), rows in sorted(counts.items())],
        "rows": shown.rows[:ROWS],
        "more": len(shown.rows) > ROWS,
        "saved_since": shown.saved_since,
    }
    return render(request, "console/undo_sync.html", context, status=status)


def _page(request: HttpRequest, wrong: str = "", *, status: int = 200) -> HttpResponse:
    try:
        newest: RecordedSync | None = read_sync(_URL)
    except RequestError:  # there is none yet
        newest = None
    context: dict[str, Any] = {"sync": newest, "wrong": wrong, "allowed": PIPELINE.filemaker_sync_changes}
    context["undoable"] = read_undoable_id(_URL)
    if newest:
        counts = Counter(each.decision for each in newest.decisions)
        listed = sorted(newest.decisions, key=lambda each: (not each.is_conflict, each))
        context |= {
            "waits": newest.status == "waits",
            "groups": list(_groups(listed)),
            "listed": min(len(listed), ROWS),
            "more": len(listed) > ROWS,
            "counts": [(decision, MEANINGS[decision], rows) for decision, rows in sorted(counts.items())],
            "deletions": sum(map(len, newest.deletions.values())),
            "conflicts": sum(each.is_conflict for each in newest.decisions),
            "of_deleted": [decision for decision in DELETED if decision in counts],
            "of_values": any(each.is_conflict and each.decision not in DELETED for each in newest.decisions),
        }
    return render(request, "console/sync.html", context, status=status)


def _groups(decisions: Sequence[Decision]) -> Iterator[dict[str, Any]]:
    """Yield the decisions of each entity with their number, and that of the conflicts; most conflicts first.

    Args:
        decisions: the conflicts first. The first `ROWS` of them are listed.
    """
    totals = Counter(each.entity for each in decisions)
    conflicts = Counter(each.entity for each in decisions if each.is_conflict)
    for entity, total in sorted(totals.items(), key=lambda item: (-conflicts[item[0]], item[0])):
        rows = [each for each in decisions[:ROWS] if each.entity == entity]
        yield {"entity": entity, "total": total, "conflicts": conflicts[entity], "rows": rows}


urlpatterns = [
    path("", page, name="sync"),
    path("start", start, name="start-sync"),
    path("<uuid:sync_id>/confirm", confirm, name="confirm-sync"),
    path("<uuid:sync_id>", undoing, name="sync-undoing"),
    path("<uuid:sync_id>/undo", undo, name="undo-sync"),
]
