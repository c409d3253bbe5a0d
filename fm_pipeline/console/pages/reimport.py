"""Full Reimport: the sign-off list, the confirmation, the launch. The pipeline itself judges plan and words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from fm_pipeline.console.accounts.middleware import admins_only
from fm_pipeline.console.audit import note
from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.db.url import connection_parameters
from fm_pipeline.errors import PipelineError, RequestError
from fm_pipeline.nexus.reimport.losses import loses
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sequence.reimport import validate_plan_early
from fm_pipeline.status.plans import StoredPlan, read_plan

JOB, TRANSACTION = "full_reimport", "reimport_transaction"


@dataclass(frozen=True)
class SignOff:
    """One line of the sign-off list.

    Attributes:
        name: of the box to tick; empty for what the pipeline proves by itself.
        words: of the clinic's checklist.
        proof: why it is proved, or what the reader is to look at.
        badge: beside a line without a box.
    """

    name: str
    words: str
    proof: str
    badge: str = "proved"


def sign_off(plan: StoredPlan) -> Iterator[SignOff]:
    """Yield the seven lines of the clinic's checklist, in its order."""
    sources, checks = plan.report["sources"], plan.report["checks"]
    left = sum(int(source["quarantined"]) for source in sources)
    records = sum(int(source["source"]) for source in sources)
    yield SignOff(
        "" if not left else "data",
        "All FileMaker data verified complete",
        f"The plan has read {records:,} records and held each against the rules."
        + (f" {left:,} of them are quarantined and would not be loaded: look at them first." if left else ""),
    )
    yield SignOff(
        "tested",
        "Settings page tested on development",
        "Somebody has tried these pages with a copy of Nexus, or with made-up data, before they are used here.",
    )
    yield SignOff(
        "", "Dry-run completed successfully", f"This plan: {len(checks):,} checks passed; Nexus was left as it was."
    )
    yield SignOff(
        "",
        "Database backup created",
        "The run reads it back, restores it into copies of the tables and compares them. Without that it changes"
        " nothing.",
        badge="made by this run before anything is changed",
    )
    yield SignOff("window", "Maintenance window scheduled", "A time is agreed in which nobody works in Nexus.")
    yield SignOff(
        "",
        "Rollback plan documented",
        "If anything fails, Nexus stays as it was. Afterwards the page Backups brings back what was before.",
    )
    yield SignOff("told", "User notified of maintenance", "Everybody who works in Nexus knows.")


@admins_only
def page(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Show what would be carried out and where; with POST, carry it out."""
    plan = read_plan(PIPELINE.nexus_database_url.get_secret_value(), str(plan_id))
    lines, refusal = list(sign_off(plan)), None
    if request.method == "POST":
        try:
            return redirect("live-run", _launch(request, plan, lines))
        except PipelineError as error:
            refusal = error
    shown = {
        "plan": plan,
        "loses": loses(plan.report),
        "lines": lines,
        "ticked": [line.name for line in lines if request.POST.get(line.name)],
        "refusal": refusal,
        "host": _host(),
        "running": runs().unfinished([JOB]),
    }
    return render(request, "console/reimport.html", shown, status=409 if refusal else 200)


def _launch(request: HttpRequest, plan: StoredPlan, lines: list[SignOff]) -> str:
    """Launch the reimport and return the run's id.

    Raises:
        RequestError: a box is not ticked, or a reimport is under way.
        PlanStop, LockStop: the words are wrong, or the plan is stale; the audit trail has it.
    """
    open_lines = [line.words for line in lines if line.name and not request.POST.get(line.name)]
    if open_lines:
        raise RequestError(
            f"The sign-off list is not complete: {'; '.join(open_lines)}.",
            meaning="Nothing was started.",
            remedy="Tick what is true, then confirm again.",
        )
    if runs().unfinished([JOB]):
        raise RequestError(
            "A reimport is under way already.", meaning="Nothing was started.", remedy="Look at its run."
        )
    username, words = request.user.get_username(), request.POST.get("confirm", "")
    validate_plan_early(PIPELINE, Permission(plan.id, words, username))
    config = {"ops": {TRANSACTION: {"config": {"plan_id": plan.id, "confirm": words}}}}
    run_id = runs().launch(username, JOB, config)
    ticked = "; ".join(line.words for line in lines if line.name)
    note(request, "launch", "done", f"Full reimport by the plan {plan.id}. Ticked: {ticked}.", run_id=run_id)
    return run_id


def _host() -> str:
    """Return server and port of Nexus' database."""
    parameters = connection_parameters(PIPELINE.nexus_database_url.get_secret_value())
    port = parameters.get("port")
    return f"{parameters.get('host') or 'this machine'}{f':{port}' if port else ''}"
