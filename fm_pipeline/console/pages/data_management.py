"""The Data Management page, as the clinic's checklist draws it: what is there today, the plan, the reimport."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.status.overview import read_overview


def page(request: HttpRequest) -> HttpResponse:
    """Show the last plans, reimports and backups."""
    overview = read_overview(PIPELINE.nexus_database_url.get_secret_value())
    return render(request, "console/data_management.html", {"overview": overview})


@require_POST
def dry_run(request: HttpRequest) -> HttpResponse:
    """Start the job that makes a plan."""
    run_id = runs().launch(request.user.get_username(), "plan_reimport")
    return redirect(f"/dagster/runs/{run_id}")
