"""Import jobs of DICOM files: the list, one job with its progress, its files, and what can be done with it.

Paths and Patient IDs are only in the files for download: folders are named after patients.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from fm_pipeline.console.accounts.middleware import admins_only
from fm_pipeline.console.audit import actor_of, note, noted_cancel
from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.downloads import csv_download
from fm_pipeline.console.gateway.run_state import RunState
from fm_pipeline.console.launching import op_config, start_run
from fm_pipeline.console.pages.paging import page_number, without_nul
from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.api.requests import cancel_import, monitoring_continues
from fm_pipeline.dicom.api.requests import one_person as confirm_one_person
from fm_pipeline.dicom.api.response_data import job_data
from fm_pipeline.dicom.choices import JOB_STATUSES, JOB_TYPES
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.dicom.history.history import EXPORTED_HISTORY, export_history, list_history
from fm_pipeline.dicom.history.jobs import Job, get_job, list_jobs, note_run
from fm_pipeline.dicom.history.removals import Takeback, list_removals, read_takeback, taken_back
from fm_pipeline.dicom.history.rows import ANOTHER_PERSON
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.dicom.reasons import FLAGS, OF_FILES, sentence
from fm_pipeline.errors import RequestError
from fm_pipeline.pluralize import counted
from fm_pipeline.status.history import about_cancel

_URL = PIPELINE.nexus_database_url.get_secret_value()
_ZONE = ZoneInfo(PIPELINE.clinic_time_zone)
JOBS_SHOWN, FILES_SHOWN = 25, 50
ACTIVE, ENDED = ("pending", "running"), ("completed", "failed", "cancelled")
IMPORT, IMPORT_OP = "dicom_import", "imported_dicom_files"
REMOVE, REMOVE_OP = "remove_dicom_import", "remove_imported_instances"


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """Show a page of jobs."""
    number = page_number(request)
    wanted = {
        "status": _one_of(JOB_STATUSES, request.GET.get("status", "")),
        "job_type": _one_of(JOB_TYPES, request.GET.get("job_type", "")),
    }
    given: dict[str, Any] = {name: value for name, value in wanted.items() if value}
    found = list_jobs(_URL, limit=JOBS_SHOWN, offset=(number - 1) * JOBS_SHOWN, **given)
    context = {
        "jobs": shown_jobs(found.jobs),
        "total": found.total,
        "wanted": wanted,
        "statuses": JOB_STATUSES,
        "job_types": JOB_TYPES,
        "query": urlencode(given),
        "number": number,
        "more": found.has_more,
    }
    return render(request, "console/dicom_jobs.html", context)


@require_safe
def job(request: HttpRequest, job_id: int) -> HttpResponse:
    """Show one job and a page of its files; only its progress if htmx asks for that again."""
    found = get_job(_URL, job_id)
    removing = [run for run in runs().unfinished([REMOVE]) if op_config(run, REMOVE_OP).get("job_id") == job_id]
    with connect(_URL) as connection, connection.cursor() as cursor:
        removals = list_removals(cursor, job_id)
        # A removal is asked about every few seconds; what is left to take back is then of no use.
        takeback = Takeback() if removing or found.status not in ENDED else read_takeback(cursor, job_id)
    context: dict[str, Any] = {
        "job": shown_job(found),
        "removals": removals,
        "removing": removing,
        "removable": takeback.removable,
        "taken_back": sum(removal.instances_deleted + removal.instances_absent for removal in removals),
        "stays": takeback.stays,
        "found_again": takeback.found_again_by,
        "busy": found.status in ACTIVE or removing or any(removal.completed_at is None for removal in removals),
    }
    if request.headers.get("HX-Target") == "job":  # else the page, of which htmx takes the list of files
        return render(request, "console/dicom_job_part.html", context)
    number, outcome = page_number(request), _one_of(tuple(Outcome), request.GET.get("outcome", ""))
    reason = _one_of(tuple(OF_FILES), without_nul(request.GET.get("reason", "")))
    files = list_history(
        _URL,
        limit=FILES_SHOWN,
        offset=(number - 1) * FILES_SHOWN,
        job_id=job_id,
        status=outcome or None,
        reason=reason or None,
    )
    context |= {
        "files": [
            {
                "row": row,
                "size": size_formatted(row.file_size_bytes or 0),
                "flags": [(flag, FLAGS.get(flag, "")) for flag in row.flags],
            }
            for row in files.history
        ],
        "reasons": [(each, sentence(each)) for each in sorted({row.reason for row in files.history if row.reason})],
        "total": files.total,
        "outcome": outcome,
        "reason": reason,
        "outcomes": tuple(Outcome),
        "another_person": ANOTHER_PERSON,
        "query": urlencode({name: value for name, value in (("outcome", outcome), ("reason", reason)) if value}),
        "number": number,
        "more": files.has_more,
    }
    return render(request, "console/dicom_job.html", context)


@require_POST
def cancel(request: HttpRequest, job_id: int) -> HttpResponse:
    """Cancel a job. A run of Dagster that waits for it ends too, since it would resume the job.

    Raises:
        RequestError: the job has ended, or there is none.
    """
    before = get_job(_URL, job_id)
    cancelled = cancel_import(PIPELINE, job_id, actor=actor_of(request))
    run = runs().find(before.run_id) if before.status == "pending" and before.run_id else None
    if run is not None and run.unfinished:
        with suppress(RequestError), noted_cancel(request, about_cancel(run.job), run_id=run.run_id):  # it has ended
            runs().terminate(request.user.get_username(), run.run_id)
    messages.success(
        request,
        "The job is cancelled."
        if cancelled.status == "cancelled"
        else "The job ends in seconds. If it has imported everything by then, this page says so.",
    )
    if monitoring_continues(PIPELINE, cancelled):
        messages.warning(request, "The sensor goes on with other new files. The configuration turns it off.")
    return redirect("dicom-job", job_id)


@require_POST
def resume(request: HttpRequest, job_id: int) -> HttpResponse:
    """Start Dagster's job for a job that waits, has stopped, or was cancelled.

    Raises:
        RequestError: it is completed, or there is none.
    """
    if get_job(_URL, job_id).status == "completed":
        raise RequestError(f"Import job {job_id} is completed.", code=409, remedy="Make a new job for the directory.")
    if launch_import(request, job_id):
        messages.success(request, "Dagster will start it in a moment.")
    return redirect("dicom-job", job_id)


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


@admins_only
@require_http_methods(["GET", "HEAD", "POST"])
def one_person(request: HttpRequest, job_id: int) -> HttpResponse:
    """Show how many names and rows the Patient ID of a row of the history has; confirm that they are of one person.

    Raises:
        RequestError: the row does not have the flag any more, there is none, or a further person was met since.
    """
    really = request.method == "POST"
    row_id, persons = (_number((request.POST if really else request.GET).get(name, "")) for name in ("row", "persons"))
    same = confirm_one_person(PIPELINE, row_id, persons=persons if really else None, actor=actor_of(request))
    if not really:
        return render(request, "console/dicom_one_person.html", {"job": get_job(_URL, job_id), "same": same})
    messages.success(
        request,
        f"Confirmed: the {counted(same.persons, 'name or birth date', 'names and birth dates')} under the Patient ID of"
        f" row {same.row_id} belong to one person. The flag was removed from {counted(same.rows, 'row')}.",
    )
    return redirect("dicom-job", job_id)


@admins_only
@require_safe
def download(request: HttpRequest, job_id: int) -> StreamingHttpResponse:
    """Send the files of a job with paths and Patient IDs. It is recorded before it is sent."""
    get_job(_URL, job_id)
    note(request, "download", "done", f"The files of import job {job_id}.")

    def rows() -> Iterator[tuple[object, ...]]:
        with connect(_URL) as connection:
            yield from export_history(connection, job_id)

    return csv_download(f"dicom-job-{job_id}.csv", EXPORTED_HISTORY, rows())


def launch_import(request: HttpRequest, job_id: int) -> bool:
    """Start Dagster's job `dicom_import` for an import job; return whether it was not under way already."""
    ops, active = {IMPORT_OP: {"config": {"job_id": job_id}}}, get_job(_URL, job_id).status in ACTIVE

    def is_same(run: RunState) -> bool:  # the process of a job that was cancelled ends a moment after the job
        return op_config(run, IMPORT_OP).get("job_id") == job_id and (active or run.status == "queued")

    run_id, is_new = start_run(request, IMPORT, f"Import job {job_id}.", ops, is_same)
    note_run(_URL, job_id, run_id)
    return is_new


def _has_run(found: Job) -> bool:
    """Whether a run of Dagster waits or runs that will start or go on with the job."""
    run = runs().find(found.run_id) if found.run_id else None
    return run is not None and run.unfinished


def shown_jobs(found: Sequence[Job]) -> list[dict[str, Any]]:
    """Return jobs as the tables show them, each with the number of its instances that were taken back."""
    with connect(_URL) as connection, connection.cursor() as cursor:
        removed = taken_back(cursor, [job.id for job in found])
    return [shown_job(job) | {"taken_back": removed.get(job.id, 0)} for job in found]


def shown_job(found: Job) -> dict[str, Any]:
    """Return a job as the pages show it."""
    data, queued = job_data(found, _ZONE), found.status == "pending" and _has_run(found)
    return data | {
        "active": found.status in ACTIVE,
        "queued": queued,
        "resumable": found.status in ("failed", "cancelled", "pending") and not queued,
        "bytes_rate": f"{size_formatted(round(found.bytes_per_second))}/s",
        "done_size": size_formatted(found.size_processed_bytes),
        "counts": [(name, count) for name, count in data["outcomes"].items() if count],
        "run_id": found.run_id,
        "nothing_new": found.status == "completed" and not found.total_files and found.files_unchanged > 0,
        "too_late": found.status == "completed" and found.cancel_requested_at is not None,
        "tone": {"completed": "good", "failed": "bad", "cancelled": "warn"}.get(found.status, ""),
    }


def _one_of(values: tuple[str, ...], text: str) -> str:
    return text if text in values else ""


urlpatterns = [
    path("", listing, name="dicom-jobs"),
    path("/<int:job_id>", job, name="dicom-job"),
    path("/<int:job_id>/cancel", cancel, name="dicom-cancel"),
    path("/<int:job_id>/resume", resume, name="dicom-resume"),
    path("/<int:job_id>/one-person", one_person, name="dicom-one-person"),
    path("/<int:job_id>/files.csv", download, name="dicom-files"),
]
