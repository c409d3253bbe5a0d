"""Import jobs: create, read, list and cancel them. `importer.run_job` runs one.

docs/dicom.md maps them to the hospital's own system. Times are UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.choices import JOB_STATUSES, JOB_TYPES, LONGEST_JOB_PAGE, JobStatus, JobType
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.dicom.paths import printable
from fm_pipeline.errors import RequestError

_NO_JOB = 2**63 - 1  # the largest bigint; a larger number, typed by a person, names no job either
# `requested_by` of the sensor's jobs, by which it recognises its own.
SENSOR = "hospital_dicom_sensor"


@dataclass(frozen=True)
class Job:
    """A row of `fm_pipeline.import_jobs`.

    Attributes:
        source_path: as `paths.printable` writes it.
        total_files, total_size_bytes: what the scan has found so far, and final once `scan_complete`. In an incremental
            job without `files_unchanged`.
        scan_complete: every directory could be listed, so that the totals are final.
        progress_percentage: never decreases; 0 during the scan.
        files_per_second, bytes_per_second: over the last minute or so.
        instances_expected, instances_missing, instances_differing: from the comparison with Orthanc; None before it.
    """

    id: int
    job_type: JobType
    source_path: str
    status: JobStatus
    requested_by: str
    run_id: str | None
    total_files: int
    total_size_bytes: int
    scan_complete: bool
    files_unchanged: int
    files_imported: int
    files_already_there: int
    files_duplicate: int
    files_conflict: int
    files_skipped: int
    files_bad: int
    files_failed: int
    files_suspect: int
    files_processed: int
    size_processed_bytes: int
    directories_unreadable: int
    progress_percentage: float
    files_per_second: float
    bytes_per_second: float
    instances_expected: int | None
    instances_missing: int | None
    instances_differing: int | None
    compared_at: datetime | None
    error_reason: str | None
    error_message: str | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    resumed_at: datetime | None
    updated_at: datetime
    completed_at: datetime | None

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """The number of files of each outcome; their sum is `files_processed`."""
        return {outcome: getattr(self, f"files_{outcome}") for outcome in Outcome}

    @property
    def estimated_seconds_remaining(self) -> float | None:
        """The remaining time at the current rate; None if the job is not running, waits, or still scans."""
        if self.error_reason or self.status != "running" or not self.progress_percentage or not self.files_per_second:
            return None
        return max(self.total_files - self.files_processed, 0) / self.files_per_second


_COLUMNS = ", ".join(field.name for field in fields(Job)).replace(
    "progress_percentage", "progress_percentage::double precision"
)


@dataclass(frozen=True)
class JobPage:
    """A page of jobs, newest first."""

    jobs: Sequence[Job]
    total: int
    limit: int
    offset: int

    @property
    def has_more(self) -> bool:
        """Whether more jobs follow."""
        return self.offset + len(self.jobs) < self.total


def create_job(
    database_url: str,
    source_path: str,
    job_type: JobType = "manual",
    *,
    requested_by: str,
    files: Sequence[str] | None = None,
    total: tuple[int, int] = (0, 0),
    more: Callable[[Cursor, int], object] = lambda _cursor, _job_id: None,
) -> Job:
    """Create a job for `run_job`. Nothing is scanned yet.

    Args:
        source_path: absolute and already checked (`paths.allowed`).
        requested_by: the user or sensor.
        files: limits the job to these files below `source_path`; paths as a scan yields them.
        total: number and size of the files, if somebody has counted them before.
        more: writes more about the job in the same transaction.

    Raises:
        RequestError: the type is unknown, or the list of files is empty.
    """
    _known(job_type, JOB_TYPES, "job type")
    if files is not None and not files:
        raise RequestError("The job has no file.")
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fm_pipeline.import_jobs (job_type, source_path, requested_by, total_files, total_size_bytes)"
            " VALUES (%s, %s, %s, %s, %s) RETURNING id",
            (job_type, printable(source_path), requested_by, *total),
        )
        job = read_job(cursor, cursor.fetchall()[0][0])
        if files is not None:
            cursor.execute(
                "INSERT INTO fm_pipeline.import_job_files (job_id, file_path) SELECT %s, unnest(%s::text[])",
                (job.id, [printable(path) for path in files]),
            )
        more(cursor, job.id)
        job = read_job(cursor, job.id)
        connection.commit()
        return job


def get_job(database_url: str, job_id: int) -> Job:
    """Return a job.

    Raises:
        RequestError: 404, there is no such job.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        return read_job(cursor, job_id)


def read_job(cursor: Cursor, job_id: int, *, lock: bool = False) -> Job:
    """Return a job through an open cursor, with a row lock if requested."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM fm_pipeline.import_jobs WHERE id = %s{' FOR UPDATE' if lock else ''}",  # noqa: S608
        (min(job_id, _NO_JOB),),
    )
    if cursor.rowcount == 0:
        raise RequestError(
            f"There is no import job {job_id}.", code=404, remedy="fm-pipeline dicom jobs lists all jobs."
        )
    return _job(cursor)


def list_jobs(
    database_url: str,
    *,
    limit: int = 20,
    offset: int = 0,
    status: JobStatus | None = None,
    job_type: JobType | None = None,
) -> JobPage:
    """Return a page of jobs, newest first.

    Args:
        limit: 1 to 100.

    Raises:
        RequestError: an argument is invalid.
    """
    paging(limit, offset, LONGEST_JOB_PAGE)
    filters: dict[str, object] = {}
    if status is not None:
        filters["status"] = _known(status, JOB_STATUSES, "status")
    if job_type is not None:
        filters["job_type"] = _known(job_type, JOB_TYPES, "job type")
    where = where_sql(filters)
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM fm_pipeline.import_jobs {where}", filters)  # noqa: S608
        ((total,),) = cursor.fetchall()
        cursor.execute(
            f"SELECT {_COLUMNS} FROM fm_pipeline.import_jobs {where} ORDER BY id DESC LIMIT {limit} OFFSET {offset}",  # noqa: S608
            filters,
        )
        return JobPage([Job(*row) for row in cursor.fetchall()], total, limit, offset)


def last_completed(database_url: str, source_path: str) -> Job | None:
    """Return the last job for all of a directory that is completed; None if there is none.

    Args:
        source_path: as `printable` writes it.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM fm_pipeline.import_jobs WHERE status = 'completed' AND source_path = %s"  # noqa: S608
            " AND requested_by <> %s ORDER BY id DESC LIMIT 1",
            (source_path, SENSOR),  # whose jobs are for some files
        )
        return _job(cursor) if cursor.rowcount else None


def request_cancel(database_url: str, job_id: int, *, by_person: bool = True) -> Job:
    """Request the cancellation of a job. A pending job is cancelled at once, a running one within seconds.

    Uploads that are in progress are recorded, and the job can be resumed with `run_job`. A job whose process was
    killed is cancelled at once, because no process would notice the request.

    Args:
        by_person: the files of a job of the sensor then wait until a person resumes it. Otherwise they are free for
            another job, and the job must not be running.

    Raises:
        RequestError: no such job (404), or it has ended.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        job = read_job(cursor, job_id, lock=True)
        if job.status not in {"pending", "running"}:
            raise RequestError(f"Import job {job_id} is {job.status}.", meaning="There is nothing to cancel.")
        alive = job.status == "running" and job_id in running_job_ids(cursor)
        cursor.execute(
            "UPDATE fm_pipeline.import_jobs SET"
            " cancel_requested_at = CASE WHEN %(alive)s OR %(by_person)s THEN clock_timestamp() END,"
            " status = CASE WHEN %(alive)s THEN status ELSE 'cancelled' END,"
            " completed_at = CASE WHEN %(alive)s THEN completed_at ELSE clock_timestamp() END,"
            " updated_at = clock_timestamp() WHERE id = %(id)s",
            {"alive": alive, "by_person": by_person, "id": job_id},
        )
        job = read_job(cursor, job_id)
        connection.commit()
        return job


def keep_cancelled(database_url: str, job_id: int) -> None:
    """Record that a person terminated the run of an interrupted job, as if they had cancelled the job."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE fm_pipeline.import_jobs SET cancel_requested_at = clock_timestamp()"
            " WHERE id = %s AND status = 'cancelled' AND cancel_requested_at IS NULL",
            (job_id,),
        )
        connection.commit()


def note_run(database_url: str, job_id: int, run_id: str) -> None:
    """Record the run of Dagster that will carry out a job, until the job is at work and records it itself."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE fm_pipeline.import_jobs SET run_id = %s WHERE id = %s AND status NOT IN ('running', 'completed')",
            (run_id, job_id),
        )
        connection.commit()


LOCK_CLASS = 0x6F727468  # the first key of the jobs' advisory locks; the second key is the job's id


def running_job_ids(cursor: Cursor) -> set[int]:
    """Return the ids of jobs that a live process runs: it holds an advisory lock, which ends with its session."""
    cursor.execute(
        "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        (LOCK_CLASS,),
    )
    return {int(job_id) for (job_id,) in cursor.fetchall()}


def paging(limit: int, offset: int, longest: int) -> None:
    """Check the limit and offset of a page.

    Raises:
        RequestError: the limit is not 1 to `longest`, or the offset is negative.
    """
    if not 1 <= limit <= longest:
        raise RequestError(f"The limit {limit} is not between 1 and {longest}.")
    if offset < 0:
        raise RequestError(f"The offset {offset} is negative.")


def where_sql(
    filters: Mapping[str, object], prefix: str = "", *, any_of: Collection[str] = (), containing: Collection[str] = ()
) -> str:
    """Return a WHERE clause that compares columns for equality. Names are never taken from outside.

    Args:
        any_of: columns that are compared with a list.
        containing: columns that are lists, compared with one value.
    """
    terms = [f"{prefix}{name} = %({name})s" for name in filters]
    terms += [f"{prefix}{name} = ANY(%({name})s)" for name in any_of]
    terms += [f"%({name})s = ANY({prefix}{name})" for name in containing]
    return f"WHERE {' AND '.join(terms)}" if terms else ""


def _known(value: str, values: Sequence[str], what: str) -> str:
    if value not in values:
        raise RequestError(f"There is no {what} {value!r}.", remedy=f"Give one of: {', '.join(values)}.")
    return value


def _job(cursor: Cursor) -> Job:
    row: Any = cursor.fetchone()
    return Job(*row)
