"""The ledger of a running job: claimed by one process, written in batches, finished with a status.

The process holds an advisory lock in the session that also writes. The lock ends with the process, and no second
process works on the same files.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import PurePath
from typing import Self, TypeVar

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.locks import AdvisoryLock, NumberedLock, try_lock, wait_for_lock
from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.choices import JobStatus
from fm_pipeline.dicom.history.chunks import reopen_chunks
from fm_pipeline.dicom.history.erase_patient import ERASED
from fm_pipeline.dicom.history.history_entry import HistoryEntry
from fm_pipeline.dicom.history.jobs import LOCK_CLASS, Job, read_job, running_job_ids
from fm_pipeline.dicom.history.rows import bigint, write_entries
from fm_pipeline.dicom.model import FoundFile, SetAside, Unreadable
from fm_pipeline.dicom.paths import path_hash, printable, real_path
from fm_pipeline.dicom.reasons import NOT_TAKEN, WAITING_FOR_ORTHANC
from fm_pipeline.errors import LockStop, RequestError
from fm_pipeline.retry import retry

T = TypeVar("T")
# Shared by running jobs, and held alone by the removal of a job's instances from Orthanc.
REMOVAL_LOCK = AdvisoryLock("dicom_removal")
_CLAIM_LOCK = 0  # no job has this id; held while a job is claimed
_RATE_SECONDS = 60.0
# How long to wait for the lock of a job: of our own lost session, or of a process that was just killed.
_OWN_SESSION_SECONDS, _OTHER_SESSION_SECONDS = 10.0, 2.0
_LOCK_POLL_SECONDS = 0.1
# All processes of a shared job write to one row. A suspended process must not keep it locked.
_IDLE_SECONDS = 10


@dataclass(frozen=True)
class ScanTotals:
    """The totals of a scan so far, without unchanged files.

    Attributes:
        unchanged: the number of unchanged files; None leaves the job's number as it is.
    """

    files: int = 0
    size_bytes: int = 0
    unchanged: int | None = 0
    scan_ended: bool = False


@dataclass(frozen=True)
class PreviousRow:
    """The newest row of a path.

    Attributes:
        settled: the file need not be read again if it is unchanged.
        unanswered: how often the file was sent without a response.
        of_this_job: the row is counted in this job.
    """

    size: int | None
    modified_ns: int | None
    changed_ns: int | None
    reason: str | None
    settled: bool
    unanswered: int
    of_this_job: bool

    def covers(self, met: FoundFile | SetAside) -> bool:
        """Return whether nothing is left to do for an entry of the scan."""
        if isinstance(met, SetAside):
            return self.settled and self.reason == met.reason
        facts = (met.size, bigint(met.modified_ns), bigint(met.changed_ns))
        return self.settled and facts == (self.size, self.modified_ns, self.changed_ns)


class JobLedger:
    """The ledger of one job.

    Args:
        shared: several processes share the job: each claims chunks of it.

    Attributes:
        reads_files: whether files are imported.
        compares: whether Orthanc is compared with the history at the end.
    """

    reads_files: bool = True
    compares: bool = True

    def __init__(self, database_url: str, job_id: int, *, shared: bool = False) -> None:
        self.job_id = job_id
        self._shared = shared
        self._waits = True
        self._database = ReconnectingConnection(
            database_url, prepare=self._acquire_job_lock, give_up=lambda: not self._waits
        )
        self._rates: deque[tuple[float, int, int]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # PostgreSQL notices a moment later that a session has ended; until then a next job would be refused.
        self._database.end(lambda cursor: cursor.execute("SELECT pg_advisory_unlock_all()"))

    def claim(self, run_id: str | None, *, resumes_cancelled: bool = True) -> Job:
        """Claim the job and mark it as running. A shared job that runs is joined.

        Raises:
            RequestError: there is no such job, it is completed, or it is cancelled and must not be resumed.
            LockStop: another process runs it, or a job for the same directory, one above or one below.
        """

        def action(cursor: Cursor) -> Job:
            wait_for_lock(cursor, NumberedLock(LOCK_CLASS, _CLAIM_LOCK))
            job = read_job(cursor, self.job_id, lock=True)
            if self._shared and job.status == "running" and job.cancel_requested_at is None:
                return job
            if job.status == "completed":
                raise RequestError(f"Import job {job.id} is completed.", remedy="Make a new job for the directory.")
            if job.status == "cancelled" and not resumes_cancelled:
                raise RequestError(
                    f"Import job {job.id} is cancelled.", code=409, remedy="Make a new job, or resume it."
                )
            self._refuse_overlapping_jobs(cursor, job)
            cursor.execute(
                "UPDATE fm_pipeline.import_jobs SET status = 'running', run_id = %s, cancel_requested_at = NULL,"
                " error_reason = NULL, error_message = NULL, completed_at = NULL, scan_complete = false,"
                " started_at = coalesce(started_at, clock_timestamp()), resumed_at = clock_timestamp(),"
                " updated_at = clock_timestamp(), instances_expected = NULL,"
                " instances_missing = NULL, instances_differing = NULL, compared_at = NULL,"
                " directories_unreadable = CASE WHEN %s THEN directories_unreadable ELSE 0 END WHERE id = %s",
                (run_id, self._shared, job.id),
            )
            if self._shared:
                reopen_chunks(cursor, job.id)
            else:  # a shared job was listed before, once
                cursor.execute("DELETE FROM fm_pipeline.import_unreadable_directories WHERE job_id = %s", (job.id,))
            return read_job(cursor, job.id)

        return self.run(action)

    def job(self) -> Job:
        """Return the row of the job."""
        return self.run(lambda cursor: read_job(cursor, self.job_id))

    def files(self) -> list[str] | None:
        """Return the printable paths of a job for a list of files; None for a job for the whole directory."""

        def action(cursor: Cursor) -> list[str] | None:
            cursor.execute(
                "SELECT DISTINCT file_path FROM fm_pipeline.import_job_files WHERE job_id = %s ORDER BY 1",
                (self.job_id,),
            )
            return [path for (path,) in cursor.fetchall()] or None

        return self.run(action)

    def previous_rows(self, met: Iterable[FoundFile | SetAside], *, any_job: bool) -> dict[str, PreviousRow]:
        """Return the newest rows of these paths by path, from this job or from any job."""
        by_hash = {path_hash(each.path): each.path for each in met}
        of_job = "" if any_job else "AND job_id = %(job_id)s"

        def action(cursor: Cursor) -> dict[str, PreviousRow]:
            cursor.execute(
                "SELECT DISTINCT ON (path_hash) path_hash::text, file_size_bytes, modified_ns, changed_ns, reason,"  # noqa: S608
                " (status <> 'failed' OR file_path = %(erased)s) AND missing_since IS NULL"
                " AND reason IS DISTINCT FROM 'archive',"
                " CASE WHEN status = 'failed' AND reason = 'no_answer' THEN sends ELSE 0 END, job_id = %(job_id)s"
                f" FROM fm_pipeline.import_history WHERE path_hash = ANY(%(hashes)s::uuid[]) {of_job}"
                " ORDER BY path_hash, id DESC",
                {"hashes": list(by_hash), "job_id": self.job_id, "erased": ERASED},
            )
            return {by_hash[key]: PreviousRow(*rest) for key, *rest in cursor.fetchall()}

        return self.run(action) if by_hash else {}

    def write(self, entries: Sequence[HistoryEntry], totals: ScanTotals, waits: str | None = None) -> Job:
        """Record outcomes of files and the progress of the job.

        Args:
            waits: as for `waits`.

        Returns:
            The current row of the job, which shows a request for cancellation.
        """

        def action(cursor: Cursor) -> Job:
            write_entries(cursor, self.job_id, entries)
            _note(cursor, self.job_id, waits)
            job = read_job(cursor, self.job_id)
            files_rate, bytes_rate = self._rate(job)
            cursor.execute(
                "UPDATE fm_pipeline.import_jobs SET total_files = greatest(total_files, %(files)s, files_processed),"
                " total_size_bytes = greatest(total_size_bytes, %(bytes)s, size_processed_bytes),"
                " files_unchanged = coalesce(%(unchanged)s, files_unchanged),"
                " progress_percentage = CASE WHEN %(ended)s THEN greatest(progress_percentage,"
                "   trunc(100.0 * files_processed / greatest(total_files, %(files)s, files_processed, 1), 2))"
                " ELSE progress_percentage END,"
                " files_per_second = %(files_rate)s, bytes_per_second = %(bytes_rate)s,"
                " updated_at = clock_timestamp() WHERE id = %(id)s",
                {
                    "files": totals.files,
                    "bytes": totals.size_bytes,
                    "unchanged": totals.unchanged,
                    "ended": totals.scan_ended,
                    "files_rate": files_rate,
                    "bytes_rate": bytes_rate,
                    "id": self.job_id,
                },
            )
            return read_job(cursor, self.job_id)

        return self.run(action)

    def waits(self, sentence: str | None) -> None:
        """Record in the row of a running job that it waits for Orthanc, or no longer does (None)."""
        self.run(lambda cursor: _note(cursor, self.job_id, sentence))

    def unreadable(self, directories: Sequence[Unreadable]) -> None:
        """Record directories that could not be read."""

        self.run(lambda cursor: insert_unreadable(cursor, self.job_id, directories))

    def finish(
        self, status: JobStatus, reason: str | None = None, message: str | None = None, *, scanned: bool = False
    ) -> Job:
        """Finish the job.

        Args:
            reason: an id of `reasons.STOPPED`.
            message: the message of our own error.
            scanned: the whole directory was listed.
        """

        return self.run(lambda cursor: self._finish(cursor, status, reason, message, scanned=scanned))

    def _finish(
        self, cursor: Cursor, status: JobStatus, reason: str | None, message: str | None, *, scanned: bool
    ) -> Job:
        cursor.execute(
            "UPDATE fm_pipeline.import_jobs SET status = %(status)s, error_reason = %(reason)s,"
            " error_message = %(message)s, completed_at = clock_timestamp(), updated_at = clock_timestamp(),"
            " scan_complete = %(scanned)s AND directories_unreadable = 0,"
            " total_files = CASE WHEN %(done)s THEN files_processed ELSE total_files END,"
            " total_size_bytes = CASE WHEN %(done)s THEN size_processed_bytes ELSE total_size_bytes END,"
            " progress_percentage = CASE WHEN %(done)s THEN 100 ELSE progress_percentage END WHERE id = %(id)s",
            {
                "status": status,
                "reason": reason,
                "message": message,
                "scanned": scanned,
                "done": status == "completed",
                "id": self.job_id,
            },
        )
        if status == "completed":  # it is never resumed, and history has each of its files
            cursor.execute("DELETE FROM fm_pipeline.import_job_files WHERE job_id = %s", (self.job_id,))
        return read_job(cursor, self.job_id)

    def not_taken(self) -> tuple[str, int, int] | None:
        """Summarise the files that a setting of Orthanc or of a proxy kept out.

        Returns:
            The most common reason (an id of `reasons.NOT_TAKEN`), the number of its files, and the size of the smallest
            in bytes; None if there are none.
        """

        def action(cursor: Cursor) -> tuple[str, int, int] | None:
            cursor.execute(
                "SELECT reason, count(*), coalesce(min(file_size_bytes), 0) FROM fm_pipeline.import_history"
                " WHERE job_id = %s AND status = 'failed' AND reason = ANY(%s)"
                " GROUP BY reason ORDER BY count(*) DESC, reason LIMIT 1",
                (self.job_id, list(NOT_TAKEN)),
            )
            return cursor.fetchone()

        return self.run(action)

    def pause(self) -> Job:
        """Return the row of a job of which a part is done."""
        return self.job()

    def do_not_wait(self) -> None:
        """Fail at once from now on if the database is unavailable."""
        self._waits = False

    def run(self, action: Callable[[Cursor], T]) -> T:
        """Run a transaction in the session of the job."""
        return self._database.run(action)

    def _acquire_job_lock(self, cursor: Cursor) -> None:
        """Acquire the lock on each new connection. A lost or killed session may hold it a moment longer."""
        if self._shared:
            cursor.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'")

        def acquire() -> None:
            if not try_lock(cursor, NumberedLock(LOCK_CLASS, self.job_id), until="session", shared=self._shared):
                raise LockStop(
                    f"Another process runs import job {self.job_id}.",
                    meaning="Nothing was done here.",
                    remedy=f"Wait until it has ended, or cancel it: fm-pipeline dicom cancel {self.job_id}",
                )
            if not try_lock(cursor, REMOVAL_LOCK, until="session", shared=True):
                raise LockStop(
                    "A mistaken import is being removed from Orthanc, and no other import runs meanwhile.",
                    meaning=f"Import job {self.job_id} was not started.",
                    remedy="Start it when the removal has ended.",
                )

        retry(
            acquire,
            is_transient=lambda error: isinstance(error, LockStop),
            pauses=repeat(_LOCK_POLL_SECONDS),
            timeout_seconds=_OWN_SESSION_SECONDS if self._rates else _OTHER_SESSION_SECONDS,
        )

    def _refuse_overlapping_jobs(self, cursor: Cursor, job: Job) -> None:
        others = running_job_ids(cursor) - {job.id, _CLAIM_LOCK}
        if not others:
            return
        cursor.execute("SELECT id, source_path FROM fm_pipeline.import_jobs WHERE id = ANY(%s)", (list(others),))
        # Compared as paths, because `printable` may write a directory differently if a name below it is decomposed.
        mine = PurePath(real_path(job.source_path))
        for other, path in cursor.fetchall():
            theirs = PurePath(real_path(path))
            if mine.is_relative_to(theirs) or theirs.is_relative_to(mine):
                raise LockStop(
                    f"Import job {other} works on the same directory, one above or one below.",
                    meaning=f"Import job {job.id} was not started.",
                    remedy="Start it when the other job has ended.",
                )

    def _rate(self, job: Job) -> tuple[float, float]:
        """Return files and bytes per second over about the last minute."""
        now = time.monotonic()
        self._rates.append((now, job.files_processed, job.size_processed_bytes))
        while len(self._rates) > 2 and now - self._rates[0][0] > _RATE_SECONDS:
            self._rates.popleft()
        then, files, size = self._rates[0]
        seconds = now - then
        if seconds <= 0:
            return 0.0, 0.0
        return max((job.files_processed - files) / seconds, 0), max((job.size_processed_bytes - size) / seconds, 0)


def insert_unreadable(cursor: Cursor, job_id: int, directories: Sequence[Unreadable]) -> None:
    """Record directories of a job that could not be read."""
    for each in directories:
        cursor.execute(
            "INSERT INTO fm_pipeline.import_unreadable_directories (job_id, path_hash, directory, reason)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (job_id, path_hash(each.path), printable(each.path), each.reason),
        )
    cursor.execute(
        "UPDATE fm_pipeline.import_jobs SET directories_unreadable = (SELECT count(*)"
        " FROM fm_pipeline.import_unreadable_directories WHERE job_id = id) WHERE id = %s",
        (job_id,),
    )


def _note(cursor: Cursor, job_id: int, waits: str | None) -> None:
    cursor.execute(
        "UPDATE fm_pipeline.import_jobs SET error_reason = %(reason)s, error_message = %(sentence)s"
        " WHERE id = %(id)s AND status = 'running' AND error_message IS DISTINCT FROM %(sentence)s",
        {"id": job_id, "sentence": waits, "reason": WAITING_FOR_ORTHANC if waits else None},
    )
