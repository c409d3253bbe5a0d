"""Jobs, history and configuration as JSON, in the format of the hospital's own system: the content of `data`.

docs/dicom.md ("How the hospital's calls map") lists its calls. That system has four outcomes of a file and this one has
eight. `files_imported` counts files that were stored. `duplicates` counts files that Orthanc already had.
`files_failed` counts files whose bytes should be in Orthanc and are not. `outcomes` has all eight.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Literal, get_args

from fm_pipeline.dicom.configuration.configuration import SyncConfiguration
from fm_pipeline.dicom.formats import duration_formatted, size_formatted, time_formatted
from fm_pipeline.dicom.history.history import HistoryPage, HistoryRow, list_history
from fm_pipeline.dicom.history.jobs import Job, JobPage
from fm_pipeline.dicom.model import Outcome

JsonObject = dict[str, Any]

DUPLICATES = (Outcome.DUPLICATE, Outcome.ALREADY_THERE)
FAILURES = (Outcome.FAILED, Outcome.BAD, Outcome.CONFLICT, Outcome.SUSPECT)
ERRORS_SHOWN = 100
HistoryStatus = Literal["imported", "failed", "duplicate", "skipped"]  # of the hospital's own system


def job_data(job: Job, zone: tzinfo) -> JsonObject:
    """Return a job."""
    left = job.estimated_seconds_remaining
    return {
        "job_id": job.id,
        "id": job.id,
        "job_type": job.job_type,
        "source_path": job.source_path,
        "status": job.status,
        "total_files": job.total_files,
        "files_processed": job.files_processed,
        "files_imported": job.files_imported,
        "files_failed": _sum(job.outcomes, FAILURES),
        "duplicates": _sum(job.outcomes, DUPLICATES),
        "files_skipped": job.files_skipped,
        "outcomes": {str(outcome): count for outcome, count in job.outcomes.items()},
        "files_unchanged": job.files_unchanged,
        "total_is_final": job.scan_complete,
        "directories_unreadable": job.directories_unreadable,
        "total_size_bytes": job.total_size_bytes,
        "total_size_formatted": size_formatted(job.total_size_bytes),
        "progress_percentage": job.progress_percentage,
        "files_per_second": round(job.files_per_second, 1),
        "bytes_per_second": round(job.bytes_per_second),
        "estimated_time_remaining": None if left is None else round(left),
        "estimated_time_remaining_formatted": None if left is None else duration_formatted(left),
        "comparison": {
            "expected": job.instances_expected,
            "missing": job.instances_missing,
            "differing": job.instances_differing,
            "compared_at": time_formatted(job.compared_at, zone),
        },
        "error_reason": job.error_reason,
        "error_message": job.error_message,
        "requested_by": job.requested_by,
        "cancel_requested_at": time_formatted(job.cancel_requested_at, zone),
        "started_at": time_formatted(job.started_at, zone),
        "completed_at": time_formatted(job.completed_at, zone),
        "created_at": time_formatted(job.created_at, zone),
    }


def jobs_data(page: JobPage, zone: tzinfo) -> JsonObject:
    """Return a page of jobs."""
    return {"jobs": [job_data(job, zone) for job in page.jobs], "pagination": _pagination(page)}


def history_data(page: HistoryPage, zone: tzinfo) -> JsonObject:
    """Return a page of history. It contains paths and Patient IDs: never log it."""
    outcomes = page.statistics.outcomes
    return {
        "history": [_row(row, zone) for row in page.history],
        "pagination": _pagination(page),
        "statistics": {
            "total_imports": page.statistics.total,
            "successful_imports": outcomes[Outcome.IMPORTED],
            "failed_imports": _sum(outcomes, FAILURES),
            "duplicate_imports": _sum(outcomes, DUPLICATES),
            "skipped_imports": outcomes[Outcome.SKIPPED],
            "outcomes": {str(outcome): count for outcome, count in outcomes.items()},
            "total_size_bytes": page.statistics.total_size_bytes,
            "total_size_formatted": size_formatted(page.statistics.total_size_bytes),
        },
    }


def outcomes_of(status: HistoryStatus) -> list[Outcome]:
    """Return the outcomes that the hospital's system calls by one name."""
    return [outcome for outcome in Outcome if status_of(outcome) == status]


def status_of(outcome: Outcome) -> HistoryStatus:
    """Return what the hospital's system calls an outcome."""
    if outcome in FAILURES:
        return "failed"
    return "duplicate" if outcome in DUPLICATES else _KNOWN[outcome.value]


_KNOWN: dict[str, HistoryStatus] = {name: name for name in get_args(HistoryStatus)}


def hospital_history_data(page: HistoryPage, zone: tzinfo) -> JsonObject:
    """Return a page of history with the four statuses of the hospital's system, and the outcomes beside them."""
    data = history_data(page, zone)
    for row in data["history"]:
        row["outcome"] = Outcome(row["status"])
        row["status"] = status_of(row["outcome"])
    return data


def first_errors(database_url: str, job: Job) -> list[JsonObject]:
    """Return the files of a job whose bytes should be in Orthanc and are not: the newest hundred."""
    if not _sum(job.outcomes, FAILURES):
        return []
    page = list_history(database_url, limit=ERRORS_SHOWN, job_id=job.id, outcomes=FAILURES)
    return [
        {"id": row.id, "file_path": row.file_path, "status": row.status, "reason": row.reason} for row in page.history
    ]


def configuration_data(configuration: SyncConfiguration, zone: tzinfo) -> JsonObject:
    """Return the configuration. It tells whether there is an FTP password, and never the password."""
    fields = configuration.model_dump()
    times = {name: time_formatted(fields[name], zone) for name in ("last_sync_at", "updated_at")}
    return {
        **fields,
        **times,
        "ftp_configured": configuration.ftp_configured,
        "has_configuration": configuration.updated_at is not None,
    }


def _row(row: HistoryRow, zone: tzinfo) -> JsonObject:
    size = row.file_size_bytes
    return {
        **{name: getattr(row, name) for name in _ROW_FIELDS},
        "file_size_formatted": None if size is None else size_formatted(size),
        "missing_since": time_formatted(row.missing_since, zone),
        "removed_at": time_formatted(row.removed_at, zone),
        "imported_at": time_formatted(row.imported_at, zone),
    }


_ROW_FIELDS = (
    "id",
    "job_id",
    "job_type",
    "job_source_path",
    "file_path",
    "file_name",
    "file_size_bytes",
    "file_hash",
    "orthanc_instance_id",
    "patient_id",
    "study_uid",
    "series_uid",
    "instance_uid",
    "modality",
    "transfer_syntax_uid",
    "status",
    "reason",
    "error_message",
    "flags",
    "other_hash",
)


def _pagination(page: JobPage | HistoryPage) -> JsonObject:
    return {"total": page.total, "limit": page.limit, "offset": page.offset, "has_more": page.has_more}


def _sum(outcomes: Mapping[Outcome, int], which: tuple[Outcome, ...]) -> int:
    return sum(outcomes[outcome] for outcome in which)
