"""The ten calls. Each checks, calls a function of `fm_pipeline.dicom.api`, and answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from ninja import Query, Router, Status

from fm_pipeline.console.api import answers
from fm_pipeline.console.api.requests import (
    CancelBody,
    ConfigureBody,
    DirectoryBody,
    HistoryQuery,
    JobNumber,
    JobsQuery,
    ProcessBody,
    StartBody,
)
from fm_pipeline.console.audit import note
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.api.batches import Batches
from fm_pipeline.dicom.api.bounded_scan import BoundedPreview, count_files, preview_bounded, preview_new_bounded
from fm_pipeline.dicom.api.requests import (
    audited_refusals,
    cancel_import,
    monitoring_continues,
    prepare_import,
    requested_path,
)
from fm_pipeline.dicom.api.response_data import (
    configuration_data,
    first_errors,
    hospital_history_data,
    job_data,
    jobs_data,
    outcomes_of,
)
from fm_pipeline.dicom.configuration.configuration import configure, read_configuration
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.dicom.history.history import list_history
from fm_pipeline.dicom.history.jobs import get_job, list_jobs
from fm_pipeline.dicom.paths import printable
from fm_pipeline.errors import RequestError

JsonObject = dict[str, Any]

router = Router(tags=["DICOM import"])
batches = Batches(PIPELINE)
_URL = PIPELINE.nexus_database_url.get_secret_value()
_ZONE = ZoneInfo(PIPELINE.clinic_time_zone)
_FAULTS = dict.fromkeys((400, 401, 403, 404, 405, 409, 500), answers.ErrorAnswer)
_Call = Callable[..., Any]


def _call(
    method: str, name: str, summary: str, answer: type[answers.CallAnswer], *, partial: bool = False
) -> Callable[[_Call], _Call]:
    """Register a call under its name, and under the name with `.php` that clients of the hospital's system know."""
    responses: dict[Any, Any] = {200: answer, **({202: answer} if partial else {}), **_FAULTS}

    def register(view: _Call) -> _Call:
        for suffix, described in (("", True), (".php", False)):
            router.api_operation(
                [method],
                f"/{name}{suffix}",
                response=responses,
                summary=summary,
                include_in_schema=described,
                operation_id=name,
                url_name=name + suffix,
            )(view)
        return view

    return register


@_call("POST", "scan-directory", "Scan a directory for DICOM files", answers.ScanAnswer, partial=True)
def scan_directory(request: HttpRequest, body: DirectoryBody) -> Status[JsonObject]:
    """Count the files that an import would send, and list the first 1,000.

    After 20 s or 100,000 files the call ends with 202 and without totals.
    """
    root = _path(request, body.path)
    found = preview_bounded(PIPELINE, root)
    note(request, "dicom_scan", "done", found.said)
    data = _scan_data(root, found)
    return _success(data, 200 if found.ended else 202)


@_call("POST", "start-import", "Create an import job", answers.StartAnswer, partial=True)
def start_import(request: HttpRequest, body: StartBody) -> Status[JsonObject]:
    """Create a job and count the files of its directory. If these are too many to count, 202 and no totals."""
    root = _path(request, body.source_path, action="dicom_import")
    total = count_files(PIPELINE, root, body.job_type)
    job = prepare_import(PIPELINE, root, body.job_type, actor=_actor(request), total=total or (0, 0))
    data = job_data(job, _ZONE)
    if total is None:
        data.update(total_files=None, total_size_bytes=None, total_size_formatted=None)
    return _success(data, 202 if total is None else 200, "Import job created successfully")


@_call("POST", "process-import", "Import the next files of a job", answers.ProcessAnswer)
def process_import(request: HttpRequest, body: ProcessBody) -> Status[JsonObject]:
    """Import at most `batch_size` files, or as many as 25 s allow. While the status is `running`, call again."""
    job = batches.process(body.job_id, actor=_actor(request), files=body.batch_size)
    said = {
        "completed": "Import job processed successfully",
        "running": "Import job is running",
        "failed": "Import job has stopped",
        "cancelled": "Import job was cancelled",
        "pending": "Import job is pending",
    }[job.status]
    return _success({**job_data(job, _ZONE), "errors": first_errors(_URL, job)}, 200, said)


@_call("GET", "import-status", "Show the progress of a job", answers.StatusAnswer)
def import_status(request: HttpRequest, job_id: Query[JobNumber]) -> Status[JsonObject]:
    """Show a job, whoever started it."""
    return _success(job_data(get_job(_URL, job_id), _ZONE))


@_call("POST", "configure-hospital-path", "Save the directory that is watched", answers.ConfiguredAnswer)
def configure_hospital_path(request: HttpRequest, body: ConfigureBody) -> Status[JsonObject]:
    """Change the configuration. The sensor follows at its next tick."""
    changes = {name: value for name, value in body.dict().items() if value is not None}
    after = configure(PIPELINE, changes, actor=_actor(request), now=datetime.now(UTC))
    return _success(configuration_data(after, _ZONE), 200, "Hospital data path configuration saved successfully")


@_call("GET", "get-import-history", "List the outcome of each file", answers.HistoryAnswer)
def get_import_history(request: HttpRequest, query: Query[HistoryQuery]) -> Status[JsonObject]:
    """List files, newest first. The answer has paths and Patient IDs."""
    if query.job_id is not None:
        get_job(_URL, query.job_id)  # an unknown job is an error, not an empty list
    outcomes = outcomes_of(query.status) if query.status else None
    if query.outcome is not None:
        outcomes = [query.outcome] if outcomes is None or query.outcome in outcomes else []
    page = list_history(_URL, limit=query.limit, offset=query.offset, job_id=query.job_id, outcomes=outcomes)
    return _success(hospital_history_data(page, _ZONE))


@_call("GET", "get-configuration", "Show the configuration", answers.ConfigurationAnswer)
def get_configuration(request: HttpRequest) -> Status[JsonObject]:
    """Show what is watched, and how often."""
    with connect(_URL) as connection:
        return _success(configuration_data(read_configuration(connection, PIPELINE), _ZONE))


@_call("POST", "cancel-import", "Cancel a job", answers.CancelAnswer)
def cancel(request: HttpRequest, body: CancelBody) -> Status[JsonObject]:
    """Cancel a pending or running job. Uploads in progress are still recorded."""
    try:
        job = cancel_import(PIPELINE, body.job_id, actor=_actor(request))
    except RequestError as error:
        if error.code == 400:  # it has ended
            error.code = 409
        raise
    data = {"job_id": job.id, "status": job.status, "monitoring_continues": monitoring_continues(PIPELINE, job)}
    return _success(data, 200, "Import job cancelled successfully")


@_call("GET", "list-jobs", "List the import jobs", answers.JobsAnswer)
def list_all_jobs(request: HttpRequest, query: Query[JobsQuery]) -> Status[JsonObject]:
    """List jobs, newest first."""
    page = list_jobs(_URL, limit=query.limit, offset=query.offset, status=query.status, job_type=query.job_type)
    return _success(jobs_data(page, _ZONE))


@_call(
    "POST",
    "scan-new-files",
    "Scan a directory for files that are not imported yet",
    answers.NewFilesAnswer,
    partial=True,
)
def scan_new_files(request: HttpRequest, body: DirectoryBody) -> Status[JsonObject]:
    """Count and list files that are new or have changed since their import, with the limits of call 1."""
    root = _path(request, body.path)
    found = preview_new_bounded(PIPELINE, root)
    note(request, "dicom_scan", "done", found.said)
    totals, data = found.totals, _scan_data(root, found)
    new, known, both = (totals.files, totals.known, totals.files + totals.known) if found.ended else (None,) * 3
    return _success(
        {**data, "total_files": both, "new_files": new, "already_imported": known}, 200 if found.ended else 202
    )


def _actor(request: HttpRequest) -> str:
    return str(request.auth)  # type: ignore[attr-defined]  # ninja sets it


def _path(request: HttpRequest, path: str, action: Any = "dicom_scan") -> str:
    with audited_refusals(PIPELINE, actor=_actor(request), action=action):
        return requested_path(PIPELINE, path)


def _scan_data(root: str, found: BoundedPreview) -> JsonObject:
    files, size = (found.totals.files, found.totals.size) if found.ended else (None, None)
    return {
        "path": printable(root),
        "total_files": files,
        "total_size_bytes": size,
        "total_size_formatted": None if size is None else size_formatted(size),
        "file_list": [each.answer(_ZONE) for each in found.files],
        "file_list_complete": found.list_complete,
        "scan_complete": found.ended and found.totals.complete,
        "directories_unreadable": found.totals.directories_unreadable,
    }


def _success(data: JsonObject, status: int = 200, message: str = "") -> Status[JsonObject]:
    said = {"message": message} if message else {}
    return Status(status, {"success": True, **said, "data": data})
