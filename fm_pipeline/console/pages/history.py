"""What was done, with filters and pages, and the report of a plan, a reimport or another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_safe

from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.pages.paging import page_number, without_nul
from fm_pipeline.console.pages.plan import report_parts
from fm_pipeline.nexus.backup.backup import find_backup
from fm_pipeline.status.history import (
    KINDS,
    OUTCOMES,
    HistoryFilter,
    kind_words,
    read_history,
    read_report,
    read_run,
)
from fm_pipeline.status.plans import read_plan
from fm_pipeline.status.run_ends import ENDED_BADLY, RunEnd, read_run_end, recorded_attempt
from fm_pipeline.status.run_steps import count_words, step_words

_URL = PIPELINE.nexus_database_url.get_secret_value()
BAR, GAP, LABELS, WIDTH = 22, 8, 280, 500  # pixels of the chart of phases


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """Show a page of what was done."""
    wanted, number = HistoryFilter.of(request.GET.dict()), page_number(request)
    attempts, more = read_history(_URL, wanted, number)
    context = {
        "attempts": [
            attempt | {"kind_words": kind_words(attempt["kind"], dry_run=attempt["dry_run"])} for attempt in attempts
        ],
        "wanted": wanted,
        "kinds": [(kind, kind_words(kind)) for kind in KINDS],
        "outcomes": OUTCOMES,
        "query": urlencode({name: value for name, value in vars(wanted).items() if value}),
        "number": number,
        "more": more,
    }
    return render(request, "console/history.html", context)


@require_safe
def plan(request: HttpRequest, identifier: str) -> HttpResponse:
    """Show the report of a plan."""
    return _report(request, "plan", str(identifier))


@require_safe
def reimport(request: HttpRequest, identifier: str) -> HttpResponse:
    """Show the report of a reimport."""
    return _report(request, "reimport", str(identifier))


@require_safe
def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """Show what is on record of a run of a command, or of one that Dagster has forgotten. Others have a page."""
    run_id = without_nul(run_id)
    if runs().find(run_id) is not None:
        return redirect("live-run", run_id)
    found = read_run(_URL, run_id)
    attempt = recorded_attempt(found["audit"])
    end = read_run_end(_URL, run_id, attempt)
    is_over = bool(attempt.outcome or found["reports"])
    context = found | {
        "steps": [_step(step, end, is_over=is_over) for step in found["steps"]],
        "is_reimport": attempt.kind in ("plan", "reimport"),
        "unchanged": end.unchanged and attempt.outcome in ENDED_BADLY,
        "sync": end.sync,
    }
    return render(request, "console/run.html", context)


def _step(step: Mapping[str, Any], end: RunEnd, *, is_over: bool) -> Mapping[str, Any]:
    has_ended = step["finished_at"] is not None
    return {
        **step,
        "label": step_words(step["step"]),
        "state": end.state_of_step(step["step"], has_begun=True, has_ended=has_ended, is_over=is_over),
        "count": count_words(step["step"], step["done"], None if has_ended else step["total"]),
    }


def _report(request: HttpRequest, kind: str, identifier: str) -> HttpResponse:
    found = read_report(_URL, kind, identifier)
    report = found["report"]
    context = {
        "entry": found,
        "stored": read_plan(_URL, found["id"]) if kind == "plan" else None,
        "backup": find_backup(PIPELINE, found["backup_id"] or ""),
        "phases": phase_bars(report.get("phases", ()), "plan, " if kind == "plan" else ""),
        "chart": {"width": LABELS + WIDTH + 90, "height": len(report.get("phases", ())) * (BAR + GAP)},
    }
    return render(request, "console/report.html", context | report_parts(report))


def phase_bars(phases: Sequence[Mapping[str, Any]], prefix: str = "") -> list[dict[str, Any]]:
    """Return the bars of an SVG chart of the seconds of each phase, one after the other from left to right.

    Args:
        prefix: of the names of the steps: "plan, " for those of a dry run.
    """
    whole = sum(phase["seconds"] for phase in phases) or 1.0
    bars, begun = [], 0.0
    for number, phase in enumerate(phases):
        width = max(WIDTH * phase["seconds"] / whole, 1.0)
        x = min(LABELS + WIDTH * begun / whole, LABELS + WIDTH - width)
        y = number * (BAR + GAP)
        place = {"x": f"{x:.1f}", "y": str(y), "width": f"{width:.1f}", "height": str(BAR)}
        step = f"{prefix}phase {phase['phase']}"
        counted = {"name": step_words(step), "count": count_words(step, phase["records"])}
        bars.append({**phase, **place, **counted, "text_y": str(y + BAR - 6), "end_x": f"{x + width + 6:.1f}"})
        begun += phase["seconds"]
    return bars


urlpatterns = [
    path("", listing, name="history"),
    path("plans/<uuid:identifier>", plan, name="plan-report"),
    path("reimports/<uuid:identifier>", reimport, name="reimport-report"),
    path("runs/<str:run_id>", run, name="run"),
]
