"""What the calls answer, field by field as in the hospital's own system; fields of ours are described as such."""

from __future__ import annotations

from typing import Literal

from ninja import Schema
from pydantic import Field

from fm_pipeline.dicom.api.response_data import HistoryStatus
from fm_pipeline.dicom.choices import JobStatus, JobType
from fm_pipeline.dicom.model import Outcome

Time = str  # "2025-11-22 10:30:00", in the clinic's time zone


class ErrorDetail(Schema):
    """Ours: what happened, what it means, what to do next."""

    code: int
    message: str
    meaning: str = ""
    remedy: str = ""


class ErrorAnswer(Schema):
    """Every answer with a status of 400 or more."""

    success: Literal[False] = False
    message: str
    error: ErrorDetail


class ListedFile(Schema):
    """A file of a scan."""

    path: str
    name: str
    size: int
    size_formatted: str
    modified: Time | None


class ScanData(Schema):
    """Calls 1 and 10. After 202 the totals are null."""

    path: str
    total_files: int | None
    total_size_bytes: int | None
    total_size_formatted: str | None
    file_list: list[ListedFile]
    file_list_complete: bool = Field(description="Ours: false if there are more files than are listed.")
    scan_complete: bool = Field(description="Ours: false if a directory could not be read, or the limit was reached.")
    directories_unreadable: int = Field(description="Ours.")


class NewFilesData(ScanData):
    """Call 10. `total_files` counts known files too, sizes are those of the new ones."""

    new_files: int | None
    already_imported: int | None


class StartData(Schema):
    """Call 2. After 202 the totals are null."""

    job_id: int
    source_path: str
    job_type: JobType
    total_files: int | None
    total_size_bytes: int | None
    total_size_formatted: str | None
    status: JobStatus


class FileError(Schema):
    """A file that is not in Orthanc though it should be."""

    id: int = Field(description="Of the row of history, which has the path.")
    status: Outcome
    reason: str | None


class ProcessData(Schema):
    """Call 3."""

    job_id: int
    status: JobStatus
    total_files: int
    files_processed: int
    files_imported: int
    files_failed: int
    duplicates: int
    files_skipped: int = Field(description="Ours: links, other kinds of files, archives as such.")
    errors: list[FileError]
    error_message: str | None = Field(description="Ours: why the job has stopped, or what it waits for.")


class StatusData(Schema):
    """Call 4."""

    job_id: int
    job_type: JobType
    source_path: str
    status: JobStatus
    total_files: int
    files_processed: int
    files_imported: int
    files_failed: int
    duplicates: int = Field(description="Ours here, as in call 3.")
    files_skipped: int = Field(description="Ours.")
    total_is_final: bool = Field(description="Ours: false while the directory is scanned.")
    total_size_bytes: int
    total_size_formatted: str
    progress_percentage: float
    estimated_time_remaining: int | None
    estimated_time_remaining_formatted: str | None
    error_message: str | None
    started_at: Time | None
    completed_at: Time | None
    created_at: Time


class ConfiguredData(Schema):
    """Call 5."""

    hospital_data_path: str | None
    monitoring_enabled: bool
    monitoring_interval: int


class HistoryEntryData(Schema):
    """A file of call 6."""

    id: int
    job_id: int
    job_type: JobType
    job_source_path: str
    file_path: str
    file_name: str
    file_size_bytes: int | None
    file_size_formatted: str | None
    file_hash: str | None
    orthanc_instance_id: str | None
    patient_id: str | None
    study_uid: str | None
    series_uid: str | None
    instance_uid: str | None
    status: HistoryStatus
    outcome: Outcome = Field(description="Ours: one of eight; `status` has four.")
    reason: str | None = Field(description="Ours: an id.")
    error_message: str | None
    imported_at: Time


class Pagination(Schema):
    """Of calls 6 and 9."""

    total: int
    limit: int
    offset: int
    has_more: bool


class HistoryStatistics(Schema):
    """Over all files of the job that was asked for, or of all jobs."""

    total_imports: int
    successful_imports: int
    failed_imports: int
    duplicate_imports: int
    skipped_imports: int
    total_size_bytes: int
    total_size_formatted: str


class HistoryData(Schema):
    """Call 6."""

    history: list[HistoryEntryData]
    pagination: Pagination
    statistics: HistoryStatistics


class ConfigurationData(Schema):
    """Call 7."""

    hospital_data_path: str | None
    orthanc_storage_path: str | None
    monitoring_enabled: bool
    monitoring_interval: int
    sync_enabled: bool
    sync_interval: int
    last_sync_at: Time | None
    ftp_configured: bool
    has_configuration: bool
    updated_at: Time | None


class CancelData(Schema):
    """Call 8. `status` is `running` until the uploads in progress are on record."""

    job_id: int
    status: JobStatus
    monitoring_continues: bool = Field(description="Ours: the sensor goes on with other files.")


class ListedJob(Schema):
    """A job of call 9."""

    id: int
    job_type: JobType
    source_path: str
    total_files: int
    files_processed: int
    files_imported: int
    files_failed: int
    total_size_bytes: int
    total_size_formatted: str
    status: JobStatus
    progress_percentage: float
    error_message: str | None
    started_at: Time | None
    completed_at: Time | None
    created_at: Time


class JobsData(Schema):
    """Call 9."""

    jobs: list[ListedJob]
    pagination: Pagination


class CallAnswer(Schema):
    """Every answer with a status below 400."""

    success: Literal[True] = True


class ScanAnswer(CallAnswer):
    """Call 1."""

    data: ScanData


class NewFilesAnswer(CallAnswer):
    """Call 10."""

    data: NewFilesData


class StartAnswer(CallAnswer):
    """Call 2."""

    message: str
    data: StartData


class ProcessAnswer(CallAnswer):
    """Call 3."""

    message: str
    data: ProcessData


class StatusAnswer(CallAnswer):
    """Call 4."""

    data: StatusData


class ConfiguredAnswer(CallAnswer):
    """Call 5."""

    message: str
    data: ConfiguredData


class HistoryAnswer(CallAnswer):
    """Call 6."""

    data: HistoryData


class ConfigurationAnswer(CallAnswer):
    """Call 7."""

    data: ConfigurationData


class CancelAnswer(CallAnswer):
    """Call 8."""

    message: str
    data: CancelData


class JobsAnswer(CallAnswer):
    """Call 9."""

    data: JobsData
