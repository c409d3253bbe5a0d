"""A mistaken import is taken back: what would be deleted in Orthanc, the list of it, and the typed words."""

from __future__ import annotations

from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from fm_pipeline.console.accounts.middleware import admins_only
from fm_pipeline.console.audit import note
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.downloads import csv_download
from fm_pipeline.console.launching import are_words, op_config, start_run
from fm_pipeline.console.pages.dicom.jobs import REMOVE, REMOVE_OP
from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.api.remove_import import plan_removal
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.dicom.history.jobs import get_job
from fm_pipeline.dicom.history.removals import EXPORTED, export_instances, found_again_by

_URL = PIPELINE.nexus_database_url.get_secret_value()


@require_safe
def page(request: HttpRequest, job_id: int) -> HttpResponse:
    """Show what a removal would delete and keep, and the words."""
    return _page(request, job_id)


@require_POST
def remove(request: HttpRequest, job_id: int) -> HttpResponse:
    """Start Dagster's job that deletes, if the words were typed."""
    words = plan_removal(PIPELINE, job_id).confirmation
    if not are_words(request.POST.get("confirm", ""), words):
        note(request, "dicom_set_aside", "refused", f"Other words than asked for were typed for import job {job_id}.")
        return _page(request, job_id, "These are not the words that the page shows. Nothing was deleted.", status=400)
    ops = {REMOVE_OP: {"config": {"job_id": job_id, "confirm": words}}}
    about = f"What import job {job_id} brought is to be deleted."
    start_run(request, REMOVE, about, ops, lambda run: op_config(run, REMOVE_OP).get("job_id") == job_id)
    return redirect("dicom-job", job_id)  # it shows the run, with its progress


@admins_only
@require_safe
def instances(request: HttpRequest, job_id: int) -> StreamingHttpResponse:
    """Send the list of what the job brought. It has paths and Patient IDs; it is recorded before it is sent."""
    get_job(_URL, job_id)
    note(request, "download", "done", f"The instances that import job {job_id} brought.")

    def rows() -> Iterator[tuple[object, ...]]:
        with connect(_URL) as connection:
            yield from export_instances(connection, job_id)

    return csv_download(f"dicom-job-{job_id}-instances.csv", EXPORTED, rows())


def _page(request: HttpRequest, job_id: int, wrong: str = "", *, status: int = 200) -> HttpResponse:
    plan = plan_removal(PIPELINE, job_id)
    with connect(_URL) as connection, connection.cursor() as cursor:
        found_again = found_again_by(cursor, job_id) if plan.instances.met_by_others else []
    context = {
        "job": get_job(_URL, job_id),
        "found_again": found_again,
        "plan": plan,
        "size": size_formatted(plan.instances.size_bytes),
        "wrong": wrong,
        "orthanc_url": PIPELINE.orthanc_url,
    }
    return render(request, "console/dicom_removal.html", context, status=status)


urlpatterns = [
    path("", page, name="dicom-removal"),
    path("/start", remove, name="dicom-remove"),
    path("/instances.csv", instances, name="dicom-instances"),
]
