"""Full Reimport: what the page of a plan sends. The pipeline itself judges plan and words."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from fm_pipeline.console.accounts.middleware import admins_only
from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.launching import start_and_show, tell_under_way
from fm_pipeline.console.pages.plan import REIMPORT, plan_page
from fm_pipeline.console.pages.sign_off import sign_off
from fm_pipeline.errors import PipelineError, RequestError
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sequence.reimport import validate_plan_early
from fm_pipeline.status.plans import StoredPlan, read_plan

TRANSACTION = "reimport_transaction"


@admins_only
def page(request: HttpRequest, plan_id: UUID) -> HttpResponse:
    """Carry a plan out, or show it again with the reason why not."""
    if request.method != "POST":
        return redirect(f"{reverse('plan', args=[plan_id])}#confirmation")
    plan = read_plan(PIPELINE.nexus_database_url.get_secret_value(), str(plan_id))
    try:
        return _launch(request, plan)
    except PipelineError as error:
        return plan_page(request, plan, refusal=error)


def _launch(request: HttpRequest, plan: StoredPlan) -> HttpResponse:
    """Launch the reimport, unless one is under way, and lead to the run.

    Raises:
        RequestError: a box is not ticked.
        PlanStop, LockStop: the words are wrong, or the plan is stale; the audit trail has it.
    """
    if already := [run.run_id for run in runs().unfinished([REIMPORT]) if run.status != "cancelling"]:
        tell_under_way(request, already[0])
        return redirect("live-run", already[0])
    lines = list(sign_off(plan))
    open_lines = [line.words for line in lines if line.name and not request.POST.get(line.name)]
    if open_lines:
        raise RequestError(
            f"The sign-off list is not complete: {'; '.join(open_lines)}.",
            meaning="Nothing was started.",
            remedy="Tick what is true, then confirm again.",
        )
    username, words = request.user.get_username(), request.POST.get("confirm", "")
    validate_plan_early(PIPELINE, Permission(plan.id, words, username))
    ticked = "; ".join(line.words for line in lines if line.name)
    ops = {TRANSACTION: {"config": {"plan_id": plan.id, "confirm": words}}}
    return start_and_show(request, REIMPORT, f"Full reimport by the plan {plan.id}. Ticked: {ticked}.", ops)
