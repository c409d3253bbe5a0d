"""The DICOM page: what is imported now, what is watched, the configuration, and how an import is started."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import include, path
from django.views.decorators.http import require_POST, require_safe

from fm_pipeline.console.audit import actor_of, note
from fm_pipeline.console.current_runs import runs
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.console.failures import failure_page, failure_status
from fm_pipeline.console.gateway.run_state import RunState
from fm_pipeline.console.launching import op_config, tell_under_way
from fm_pipeline.console.pages.dicom import jobs, removal
from fm_pipeline.console.pages.dicom.bar_chart import columns, rows
from fm_pipeline.console.pages.dicom.jobs import ACTIVE, IMPORT, IMPORT_OP, launch_import, shown_job, shown_jobs
from fm_pipeline.console.pages.snapshot import SlowAnswer
from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.api.bounded_scan import preview_bounded, preview_new_bounded
from fm_pipeline.dicom.api.requests import audited_refusals, prepare_import, requested_path
from fm_pipeline.dicom.choices import JobType
from fm_pipeline.dicom.configuration.configuration import CHANGEABLE, SyncConfiguration, configure, read_configuration
from fm_pipeline.dicom.configuration.roots import allowed_roots
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.dicom.history.jobs import SENSOR, Job, get_job, last_completed, list_jobs
from fm_pipeline.dicom.paths import printable
from fm_pipeline.dicom.reasons import sentence
from fm_pipeline.errors import PipelineError, RequestError
from fm_pipeline.status.dicom import ImportedCounts, count_imported, read_watch_events, read_watched_roots

_URL = PIPELINE.nexus_database_url.get_secret_value()
_ZONE = ZoneInfo(PIPELINE.clinic_time_zone)
RECENT = 5
COUNTED_SECONDS = 3.0  # that the page waits for its charts; in a long history the count takes longer
SECURITIES = (
    ("tls", "TLS, with a verified certificate"),
    ("tls_unverified", "TLS without verification"),
    ("none", "none: the password is sent in the clear"),
)
# The preset, incremental, does not bring back what was taken back, and does not open what is known.
JOB_TYPE_WORDS: Mapping[JobType, str] = {
    "initial": "initial: every file",
    "incremental": "incremental: new or changed",
    "manual": "manual: every file",
}
# What the form, and a refusal, call the fields that are numbers.
_NUMBER_WORDS: Mapping[str, str] = {
    "monitoring_interval": "Seconds between two looks",
    "quiet_period": "Seconds that a file must be unchanged",
    "files_per_job": "The most files of one job",
    "sync_interval": "Seconds between two nightly imports, at least",
    "ftp_port": "Port",
}
_SWITCHES = ("monitoring_enabled", "sync_enabled", "ftp_enabled", "ftp_passive")


_imported = SlowAnswer(lambda: count_imported(_URL, _ZONE))
_starting = threading.Lock()  # the second of two clicks finds the job of the first


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the page."""
    return _page(request)


def _page(request: HttpRequest, wrong: PipelineError | None = None) -> HttpResponse:
    """Show the page; after a refusal with its sentences and with what was typed."""
    counts = _imported.get(wait=COUNTED_SECONDS)
    configured = _configuration()
    directory = request.POST.get("path", configured.hospital_data_path or "")
    context = _live() | {
        "configuration": configured,
        "wrong": wrong,
        "path": directory,
        "last_import": None if wrong else last_completed(_URL, printable(directory)),
        "job_type": request.POST.get("job_type", "incremental"),
        "roots": read_watched_roots(_URL, _ZONE),
        "events": read_watch_events(_URL),
        "allowed_roots": allowed_roots(PIPELINE),
        "job_types": JOB_TYPE_WORDS.items(),
        **(_charts(counts) if counts else {}),
    }
    return render(request, "console/dicom.html", context, status=failure_status(wrong) if wrong else 200)


@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """Show the part that changes: the jobs at work and the last ones."""
    return render(request, "console/dicom_live.html", _live())


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Create a job for a directory, and start Dagster's job that carries it out; or show the form again.

    If a job of that kind for the directory waits or runs already, lead to that.
    """
    job_type, actor = cast(JobType, request.POST.get("job_type", "manual")), actor_of(request)
    try:
        with audited_refusals(PIPELINE, actor=actor, action="dicom_import"):
            root = requested_path(PIPELINE, request.POST.get("path", "").strip() or None)
        with _starting:
            if already := _under_way(root, job_type):
                tell_under_way(request, already[1].run_id)
                return redirect("dicom-job", already[0].id)
            job = prepare_import(PIPELINE, root, job_type, actor=actor)
            launch_import(request, job.id)
    except RequestError as error:  # the directory is not allowed, or the type is unknown
        return _page(request, error)
    return redirect("dicom-job", job.id)


def _under_way(root: str, job_type: JobType) -> tuple[Job, RunState] | None:
    """Return the job of a person for the whole directory, and its run, which waits or runs."""
    for run in runs().unfinished([IMPORT]):
        job_id = op_config(run, IMPORT_OP).get("job_id")
        job = get_job(_URL, job_id) if job_id and run.status != "cancelling" else None
        if job is None or job.status not in ACTIVE or job.requested_by == SENSOR:
            continue
        if (job.source_path, job.job_type) == (printable(root), job_type):
            return job, run
    return None


@require_POST
def scan(request: HttpRequest) -> HttpResponse:
    """Inspect a directory until a limit, and show what an import of that kind would do; or show the form again."""
    preview = preview_new_bounded if request.POST.get("job_type") == "incremental" else preview_bounded
    try:
        with audited_refusals(PIPELINE, actor=actor_of(request), action="dicom_scan"):
            root = requested_path(PIPELINE, request.POST.get("path", "").strip() or None)
            found = preview(PIPELINE, root)
    except PipelineError as error:  # the directory is not allowed, or cannot be listed
        if not request.headers.get("HX-Request"):
            return _page(request, error)
        return failure_page(request, 400, error.what, error.meaning, error.remedy)
    note(request, "dicom_scan", "done", found.said)
    others = [
        (count, outcome, reason, sentence(reason)) for (outcome, reason), count in found.totals.by_reason.most_common()
    ]
    context = {"found": found, "size": size_formatted(found.totals.size), "others": others}
    return render(request, "console/dicom_scan.html", context)


def configuration(request: HttpRequest) -> HttpResponse:
    """Show the configuration as a form, and save it."""
    values, wrong = _configuration().model_dump(include=set(CHANGEABLE)), None
    if request.method == "POST":
        values = {name: request.POST.get(name, "").strip() for name in CHANGEABLE if name not in _SWITCHES}
        values |= {name: request.POST.get(name) == "on" for name in _SWITCHES}
        try:
            configure(PIPELINE, _typed(values), actor=actor_of(request), now=datetime.now(UTC))
        except RequestError as error:
            wrong = error
        else:
            messages.success(request, "The configuration is saved. It takes effect within seconds.")
            return redirect("dicom")
    context = {
        "values": values,
        "labels": _NUMBER_WORDS,
        "wrong": wrong,
        "password_set": PIPELINE.ftp_password is not None,
        "securities": SECURITIES,
    }
    return render(request, "console/dicom_configuration.html", context, status=400 if wrong else 200)


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a form has sent as the configuration takes it.

    Raises:
        RequestError: a field for a number has none.
    """
    typed = dict(values)
    for name, words in _NUMBER_WORDS.items():
        text = str(values[name])
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise RequestError(f'"{words}" is not a number.', meaning="Nothing was changed.")
        typed[name] = int(text)
    return typed


def _live() -> dict[str, Any]:
    active = [*list_jobs(_URL, status="running").jobs, *list_jobs(_URL, status="pending", limit=RECENT).jobs]
    return {
        "active": [shown_job(job) for job in active],
        "recent": shown_jobs(list_jobs(_URL, limit=RECENT).jobs),
    }


def _configuration() -> SyncConfiguration:
    with connect(_URL) as connection:
        return read_configuration(connection, PIPELINE)


def _charts(counts: ImportedCounts) -> dict[str, Any]:
    return {
        "by_day": columns({f"{day:%m-%d}": count for day, count in counts.by_day.items()}, label_every=7),
        "by_modality": rows(counts.by_modality),
        "imported": sum(counts.by_day.values()),
        "days": len(counts.by_day),
    }


urlpatterns = [
    path("", page, name="dicom"),
    path("/live", live, name="dicom-live"),
    path("/start", start, name="dicom-start"),
    path("/scan", scan, name="dicom-scan"),
    path("/configuration", configuration, name="dicom-configuration"),
    path("/jobs", include(jobs)),
    path("/jobs/<int:job_id>/remove", include(removal)),
]
