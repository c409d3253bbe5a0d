"""The fields of the hospital's answers with their types and formats, to compare an answer with field by field."""

from __future__ import annotations

import re
from typing import Any

SIZE = re.compile(r"\d+ B|\d+\.\d\d (KB|MB|GB|TB|PB)")
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
DURATION = re.compile(r"1 (second|minute|hour|day)|\d+ (seconds|minutes|hours|days)")
MD5 = re.compile(r"[0-9a-f]{32}")

NONE = type(None)
JOB_TYPE = {"initial", "incremental", "manual"}
JOB_STATUS = {"pending", "running", "completed", "failed", "cancelled"}
FILE = {"path": str, "name": str, "size": int, "size_formatted": SIZE, "modified": TIME}
PAGINATION = {"total": int, "limit": int, "offset": int, "has_more": bool}
SCAN = {
    "path": str,
    "total_files": int,
    "total_size_bytes": int,
    "total_size_formatted": SIZE,
    "file_list": [FILE],
}
NEW_FILES = {**SCAN, "new_files": int, "already_imported": int}
START = {
    "job_id": int,
    "source_path": str,
    "job_type": JOB_TYPE,
    "total_files": int,
    "total_size_bytes": int,
    "total_size_formatted": SIZE,
    "status": {"pending"},
}
PROCESS = {
    "job_id": int,
    "status": JOB_STATUS,
    "total_files": int,
    "files_processed": int,
    "files_imported": int,
    "files_failed": int,
    "duplicates": int,
    "errors": [{"id": int, "status": str, "reason": (str, NONE)}],
}
_JOB = {
    "job_type": JOB_TYPE,
    "source_path": str,
    "status": JOB_STATUS,
    "total_files": int,
    "files_processed": int,
    "files_imported": int,
    "files_failed": int,
    "total_size_bytes": int,
    "total_size_formatted": SIZE,
    "progress_percentage": float,
    "error_message": (str, NONE),
    "started_at": (TIME, NONE),
    "completed_at": (TIME, NONE),
    "created_at": TIME,
}
STATUS = {
    **_JOB,
    "job_id": int,
    "estimated_time_remaining": (int, NONE),
    "estimated_time_remaining_formatted": (DURATION, NONE),
}
JOBS = {"jobs": [{**_JOB, "id": int}], "pagination": PAGINATION}
CONFIGURED = {"hospital_data_path": str, "monitoring_enabled": bool, "monitoring_interval": int}
HISTORY = {
    "history": [
        {
            "id": int,
            "job_id": int,
            "job_type": JOB_TYPE,
            "job_source_path": str,
            "file_path": str,
            "file_name": str,
            "file_size_bytes": int,
            "file_size_formatted": SIZE,
            "file_hash": MD5,
            "orthanc_instance_id": (str, NONE),
            "patient_id": (str, NONE),
            "study_uid": (str, NONE),
            "series_uid": (str, NONE),
            "instance_uid": (str, NONE),
            "status": {"imported", "failed", "duplicate", "skipped"},
            "error_message": (str, NONE),
            "imported_at": TIME,
        }
    ],
    "pagination": PAGINATION,
    "statistics": {
        "total_imports": int,
        "successful_imports": int,
        "failed_imports": int,
        "duplicate_imports": int,
        "skipped_imports": int,
        "total_size_bytes": int,
        "total_size_formatted": SIZE,
    },
}
CONFIGURATION = {
    **CONFIGURED,
    "hospital_data_path": (str, NONE),
    "orthanc_storage_path": (str, NONE),
    "sync_enabled": bool,
    "sync_interval": int,
    "last_sync_at": (TIME, NONE),
    "ftp_configured": bool,
    "has_configuration": bool,
    "updated_at": (TIME, NONE),
}
CANCEL = {"job_id": int, "status": JOB_STATUS}


def differences(value: Any, shape: Any, place: str = "data") -> list[str]:
    """Return what a value lacks, or has in another form, than the hospital's answer. Further fields do not count."""
    if isinstance(shape, dict):
        missing = [f"{place}.{name} is missing" for name in shape if name not in value]
        found = [
            each for name in shape if name in value for each in differences(value[name], shape[name], f"{place}.{name}")
        ]
        return missing + found
    if isinstance(shape, list):
        return [
            fault for number, item in enumerate(value) for fault in differences(item, shape[0], f"{place}[{number}]")
        ]
    if isinstance(shape, tuple):
        return [] if any(not differences(value, each, place) for each in shape) else [f"{place} is {value!r}"]
    if isinstance(shape, re.Pattern):
        fits = isinstance(value, str) and shape.fullmatch(value) is not None
    elif isinstance(shape, set):
        fits = value in shape
    else:
        fits = type(value) is shape
    return [] if fits else [f"{place} is {value!r}"]
