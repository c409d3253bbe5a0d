"""Dry Run Preview: make a plan, and read it, what would be lost first."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import HTMX_STOP_POLLING, HttpResponseClientRedirect

from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.gateway.run_state import RunState
from fm_pipeline.console.launching import start_and_show
from fm_pipeline.console.pages.sign_off import sign_off
from fm_pipeline.console.pages.snapshot import SlowAnswer
from fm_pipeline.db.url import connection_parameters
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.errors import PipelineError
from fm_pipeline.nexus.reimport.difference import RowChange
from fm_pipeline.nexus.reimport.losses import loses, losses
from fm_pipeline.nexus.reimport.relink import REASONS
from fm_pipeline.sequence.planned_rows import read_planned_rows
from fm_pipeline.status.nexus_counts import newest_change
from fm_pipeline.status.plan_page_explanation import InputChange, explain_changes
from fm_pipeline.status.plans import StoredPlan, read_plan

JOB, REIMPORT = "plan_reimport", "full_reimport"
ROWS = 1000  # of a table that are listed
STATE_SECONDS = 0.5  # that a page that asks again waits for the comparison
PLANS = 8  # whose comparisons are kept
VALID = "valid"  # the standing of a plan that can be carried out
_URL = PIPELINE.nexus_database_url.get_secret_value()


@require_POST
def dry_run(request: HttpRequest) -> HttpResponse:
    """Start the job that makes a plan, or show the one that is being made."""
    return start_and_show(request, JOB, "Dry run.")


def page(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Show a plan."""
    return plan_page(request, read_plan(_URL, str(plan_id)))


def plan_page(request: HttpRequest, plan: StoredPlan, refusal: PipelineError | None = None) -> HttpResponse:
    """Show a plan: what would be lost, what would be done, and for administrators the confirmation.

    Args:
        refusal: why it was not carried out; what has been ticked stays ticked.
    """
    running = _running(plan)
    comparison = _comparison(plan, running)
    changes = [] if running or plan.carried_out else comparison.fresh()
    context = {
        "plan": plan,
        **report_parts(plan.report),
        **_seen(running, _standing(plan, changes)),
        # The links of records to rows change with these rows or files, which say more to a person.
        "changes": [each for each in changes if each.change.of != "links" or len(changes) == 1],
        "writing_runs": list(dict.fromkeys(run for each in changes for run in each.runs)),
        "lines": list(sign_off(plan)),
        "ticked": set(request.POST),
        "refusal": refusal,
        "host": _host(),
    }
    return render(request, "console/plan.html", context, status=409 if refusal else 200)


def state(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Answer the part that asks again every few seconds; nothing (204) if it is as the page shows it.

    A plan that was valid, and was carried out or has become stale meanwhile, is loaded again as a whole: nothing that
    was typed there is of use any more. While a run works, nothing is compared, and the page keeps its standing. A page
    of a plan that is not valid asks no more when no run works: another comparison would not bring it back.
    """
    plan = read_plan(_URL, str(plan_id))
    running, standing = _running(plan), request.GET.get("standing", "")
    comparison = _comparison(plan, running)
    if not running and standing == VALID:
        changes = [] if plan.carried_out else comparison.get(wait=STATE_SECONDS)
        if changes is None:  # being compared: it is known a little later
            return HttpResponse(status=204)
        if _standing(plan, changes) != standing:
            return HttpResponseClientRedirect(reverse("plan", args=[plan.id]))
    seen = _seen(running, standing)
    if seen["asks_again"] and request.GET.get("runs") == seen["runs"]:
        return HttpResponse(status=204)
    context = {"plan": plan, **report_parts(plan.report), **seen, "oob": True}
    status = 200 if seen["asks_again"] else HTMX_STOP_POLLING
    return render(request, "console/plan_running.html", context, status=status)


def _running(plan: StoredPlan) -> list[RunState]:
    """Return the dry runs and reimports that wait or run: the plan may be stale after them."""
    # The run that makes the plan ends a moment after it.
    return [run for run in runs().unfinished([JOB, REIMPORT]) if run.run_id != plan.run_id]


def _standing(plan: StoredPlan, changes: Sequence[InputChange]) -> str:
    """Return what has become of a plan."""
    return "undone" if plan.undone_by else "done" if plan.carried_out else "stale" if changes else VALID


def _seen(running: Sequence[RunState], standing: str) -> dict[str, Any]:
    """Return the runs, and by which texts it is told whether a page still shows what is true."""
    return {
        "running": running,
        "runs": " ".join(f"{run.run_id}:{run.status}" for run in running),
        "standing": standing,
        "asks_again": bool(running) or standing == VALID,
    }


def plan_changes(plan: StoredPlan | None) -> list[InputChange]:
    """Return what makes a plan stale; nothing for one that has been carried out, or for none."""
    return explain_changes(PIPELINE, plan.id, plan.created_at) if plan and not plan.carried_out else []


_comparisons: dict[str, tuple[object, SlowAnswer[list[InputChange]]]] = {}  # by plan, the last one asked for last
_choosing = threading.Lock()


def _comparison(plan: StoredPlan, running: Sequence[RunState]) -> SlowAnswer[list[InputChange]]:
    """Return the comparison that all pages of a plan share; a new one if a run has begun or ended since.

    Args:
        running: what `_running` has returned.
    """
    since = newest_change(_URL), tuple(run.run_id for run in running)
    with _choosing:
        kept = _comparisons.pop(plan.id, None)
        if kept is None or kept[0] != since:
            kept = since, SlowAnswer(partial(plan_changes, plan))
        _comparisons[plan.id] = kept
        while len(_comparisons) > PLANS:
            del _comparisons[next(iter(_comparisons))]
    return kept[1]


def known_changes(plan: StoredPlan | None, *, wait: float) -> list[InputChange] | None:
    """Return the same for a page that shows more than the plan: None if every row of Nexus takes longer to compare."""
    if plan is None or plan.carried_out:
        return []
    return _comparison(plan, ()).get(wait=wait)


def rows(request: HttpRequest, plan_id: UUID, table: str, change: RowChange) -> HttpResponse:
    """Show the ids of the rows of a table that would be deleted, inserted or changed."""
    plan = read_plan(_URL, str(plan_id))
    found = read_planned_rows(PIPELINE, plan.id, table, change, limit=ROWS)
    counts = Counter(replace(reason, record_id=0) for reason in found.why.values())  # those of one rule together
    context = {
        "plan": plan,
        "table": table,
        "change": change,
        "rows": found,
        "reasons": counts.most_common(),
        "listed": [(nexus_id, key, found.why.get(nexus_id)) for nexus_id, key in found.ids],
    }
    return render(request, "console/planned_rows.html", context)


def report_parts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the templates show of a stored report, also one of an earlier release."""
    report = {"losses": losses(report), **report}  # the first release stored no sentences
    known = load_rules().by_id
    files = [
        ("document", "documents", report.get("documents")),
        ("image batch", "image batches", report.get("image_batches")),
    ]
    return {
        "report": report,
        "loses": loses(report),
        "rules": {
            rule: known[rule] for source in report["sources"] for rule in sorted(source["by_rule"]) if rule in known
        },
        "totals": row_totals(report),
        "files": [_file(one, many, each, done=bool(report["committed"])) for one, many, each in files if each],
        "not_loaded": [source for source in report["sources"] if source["quarantined"] or source["skipped"]],
        "failed_checks": [check for check in report["checks"] if not check["holds"]],
        "by_kind": {
            kind: [row for row in report.get("patients_by", ()) if row["by"] == kind] for kind in ("clinic", "funding")
        },
    }


def row_totals(report: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of rows of all tables together; `elsewhere` are those that refer to rows of these tables."""
    names = ("before", "deleted", "inserted", "updated", "unchanged", "without_filemaker_id", "after")
    totals = {name: sum(int(table[name]) for table in report["tables"]) for name in names}
    done = totals["deleted"] + totals["inserted"] + totals["updated"]
    return totals | {"elsewhere": max(int(report["changed_rows"]) - done, 0)}


def _file(one: str, many: str, relinked: Mapping[str, Any], *, done: bool) -> dict[str, Any]:
    """Return the numbers of documents or batches, and the ids of each reason why one is left without a patient."""
    unresolved = relinked.get("unresolved") or {}
    listed = [(REASONS.get(reason, reason), ids) for reason, ids in unresolved.items() if ids]
    if disagreeing := relinked.get("disagreeing"):
        listed.append((REASONS["disagrees"], disagreeing))
    be, go, lose = ("was", "went", "lost") if done else ("would be", "would go", "would lose")
    for kind, words in (("archived", f"they {go} to the archive patient"), ("detached", f"they {lose} theirs")):
        if ids := list(relinked.get(kind) or {}):
            listed.append((f"their patient {be} deleted, and {words}", ids))
    orphans = sum(len(ids) for ids in unresolved.values())
    return {"one": one, "name": many, **relinked, "orphans": orphans, "listed": listed}


def _host() -> str:
    """Return server and port of Nexus' database."""
    parameters = connection_parameters(_URL)
    port = parameters.get("port")
    return f"{parameters.get('host') or 'this machine'}{f':{port}' if port else ''}"
