"""The Data Management page, as the clinic's checklist draws it: what is there today, the systems, plan and reimport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django_htmx.http import reswap

from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.gateway.run_state import RunState
from fm_pipeline.console.overdue import overdue
from fm_pipeline.console.pages import plan, reimport, run
from fm_pipeline.console.pages.snapshot import Snapshot
from fm_pipeline.preflight.connections import read_connections
from fm_pipeline.sequence.planned_rows import ROW_CHANGES
from fm_pipeline.status.nexus_counts import Newest, read_newest, read_nexus_counts
from fm_pipeline.status.plans import newest_plan
from fm_pipeline.status.recent import DICOM_IMPORT, DICOM_WATCH, Ends, read_recent, verdict

COUNTS_SECONDS, CONNECTIONS_SECONDS = 10, 60  # FileMaker is asked by a login, and counts its sessions
NEWEST_SECONDS, LEFT_SECONDS = 1, 4  # for open pages; a page that is opened asks by itself
FIRST_ANSWER_SECONDS = 1.5  # that a page waits at most; afterwards it asks again by itself
_counts = Snapshot(lambda: read_nexus_counts(PIPELINE), every=COUNTS_SECONDS)
_connections = Snapshot(lambda: read_connections(PIPELINE), every=CONNECTIONS_SECONDS)
_URL = PIPELINE.nexus_database_url.get_secret_value()
_newest = Snapshot(partial(read_newest, _URL), every=NEWEST_SECONDS)
_running = Snapshot(lambda: run.running_now(runs().unfinished()), every=LEFT_SECONDS)  # for the times left


def page(request: HttpRequest) -> HttpResponse:
    """Show all of it; counts and connections as the newest snapshot has them."""
    newest, running = _newest.fresh(), _running.fresh()
    return render(
        request, "console/data_management.html", _state(newest.change, FIRST_ANSWER_SECONDS) | _runs(newest, running)
    )


def runs_state(request: HttpRequest) -> HttpResponse:
    """Answer what depends on runs; nothing (204) if none has begun, come further or ended, and no plan was made.

    If only the times left are other ones, the answer has nothing else: the focus stays, and nothing is read aloud.
    """
    newest, unfinished = _newest.get(wait=FIRST_ANSWER_SECONDS).value, runs().unfinished()
    if newest is None:  # not known just now
        return HttpResponse(status=204)
    if request.GET.get("runs") != _seen(newest, unfinished):
        return render(request, "console/data_management_runs.html", _runs(_newest.fresh(), _running.fresh()))
    running = (_running.get(wait=FIRST_ANSWER_SECONDS).value or []) if unfinished else []
    if not running or request.GET.get("left") == _times_left(running):
        return HttpResponse(status=204)
    shown = {"running": running, "left": _times_left(running)}
    return reswap(render(request, "console/data_management_left.html", shown), "none")


def _runs(newest: Newest, running: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Return what is shown of runs. `newest` was read before: what comes meanwhile is shown by the next answer."""
    unfinished: list[RunState] = [each["run"] for each in running]
    newest_made, yesterday = newest_plan(_URL), timezone.localdate() - timedelta(days=1)
    of_history = run.of_history(unfinished)
    begun = {(each.kind, each.dry_run): each.run_id for each in reversed(of_history)}
    is_live = any(each.job in run.LIVE_JOBS for each in unfinished)
    recent, missed = read_recent(_URL, yesterday, of_history), len(overdue.read())
    return {
        "plan": newest_made,
        "totals": plan.row_totals(newest_made.report) if newest_made else {},
        "verdict": verdict(recent, missed),
        "is_bad": bool(missed) or any(each.is_bad for each in recent),
        "recent": [(each, _list_of(each, yesterday, begun), _errors_of(each)) for each in recent],
        "yesterday": yesterday,
        "running": running,
        "is_live": is_live,
        "changes": None if is_live else plan.known_changes(newest_made, wait=FIRST_ANSWER_SECONDS),
        "runs": _seen(newest, unfinished),
        "left": _times_left(running),
    }


def _seen(newest: Newest, unfinished: Sequence[RunState]) -> str:
    """Return a text that is another one when a run has begun, works or has ended, or when a plan was made."""
    return " ".join([str(newest.change), newest.plan_id, *(f"{each.run_id}:{each.status}" for each in unfinished)])


def _times_left(running: Sequence[Mapping[str, Any]]) -> str:
    """Return a text that is another one when a time left is."""
    return " ".join(f"{each['run'].run_id}:{each['left']}" for each in running)


def _list_of(ends: Ends, since: date, begun: Mapping[tuple[str, bool], str]) -> str:
    """Return the address of the page that has these runs one by one.

    Args:
        begun: the newest of the runs that have not ended, by kind and `dry_run`.
    """
    run_id = begun.get((ends.kind, ends.dry_run))
    if run_id and ends.is_unfinished_only:
        return reverse("live-run", args=[run_id])
    if ends.waits:
        return reverse("sync")
    if ends.errors and not ends.has_failed:
        return _errors_of(ends)
    if ends.kind in (DICOM_IMPORT, DICOM_WATCH):
        return reverse("dicom-jobs") if ends.kind == DICOM_IMPORT else f"{reverse('dicom')}#watched"
    return f"{reverse('history')}?{urlencode({'kind': ends.kind, 'since': since.isoformat()})}"


def _errors_of(ends: Ends) -> str:
    """Return the address of the report that names the images with an error; empty if there are none."""
    return f"{reverse('run', args=[ends.run_id])}#result-{ends.kind}" if ends.errors else ""


def state(request: HttpRequest) -> HttpResponse:
    """Answer the part that asks again every few seconds; nothing (204) if the page has the newest snapshot."""
    newest = _newest.get().value
    shown = _state(newest.change if newest else 0, 0)
    if request.GET.get("seen") == shown["seen"]:
        return HttpResponse(status=204)
    return render(request, "console/data_management_state.html", shown)


def _state(change: int, wait: float) -> dict[str, object]:
    counts, connections = _counts.get(wait=wait, change=change), _connections.get(wait=wait)
    seen = f"{counts.number}.{int(counts.at is not None)}.{connections.number}"
    return {"counts": counts, "connections": connections, "seen": seen}


urlpatterns = [
    path("", page, name="data-management"),
    path("/state", state, name="data-management-state"),
    path("/runs", runs_state, name="data-management-runs"),
    path("/dry-run", plan.dry_run, name="dry-run"),
    path("/plans/<uuid:plan_id>", plan.page, name="plan"),
    path("/plans/<uuid:plan_id>/state", plan.state, name="plan-state"),
    *(
        path(f"/plans/<uuid:plan_id>/{change}/<str:table>", plan.rows, {"change": change}, name=f"plan-{change}")
        for change in ROW_CHANGES
    ),
    path("/plans/<uuid:plan_id>/reimport", reimport.page, name="reimport"),
    path("/runs/<uuid:run_id>", run.page, name="live-run"),
    path("/runs/<uuid:run_id>/state", run.state, name="live-run-state"),
    path("/runs/<uuid:run_id>/log", run.log, name="live-run-log"),
    path("/runs/<uuid:run_id>/log.txt", run.log_file, name="live-run-log-file"),
    path("/runs/<uuid:run_id>/cancel", run.cancel, name="cancel-run"),
]
