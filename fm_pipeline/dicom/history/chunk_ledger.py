"""The ledger of a chunk: it writes rows and counts of the job, and is refused every write once the claim is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.choices import JobStatus
from fm_pipeline.dicom.history.chunks import Chunk, ClaimLost, others_live
from fm_pipeline.dicom.history.history_entry import HistoryEntry
from fm_pipeline.dicom.history.job_ledger import JobLedger, ScanTotals
from fm_pipeline.dicom.history.jobs import Job, read_job

T = TypeVar("T")

# Reasons that may concern this host alone. The others go on without it.
OF_THIS_HOST = frozenset({"root_unavailable", "no_files", "interrupted", "error"})


class ChunkLedger(JobLedger):
    """The ledger of one chunk of a job.

    Every transaction first locks the row of the claim, so that the chunk is taken over before or after it, and never
    in between. PostgreSQL ends a transaction that stays idle, as that of a suspended process does.

    Args:
        is_launched_again: another process is started for the chunk if this one is interrupted.
    """

    def __init__(self, database_url: str, chunk: Chunk, *, is_launched_again: bool = False) -> None:
        super().__init__(database_url, chunk.job_id, shared=True)
        self._chunk, self._is_launched_again = chunk, is_launched_again
        self.reads_files, self.compares = not chunk.closing, chunk.closing

    def claim(self, run_id: str | None, *, resumes_cancelled: bool = True) -> Job:
        """Return the job. The chunk is claimed already."""
        return self.job()

    def files(self) -> list[str] | None:
        """Return the printable paths of the chunk, in the order of the scan."""

        def action(cursor: Cursor) -> list[str]:
            cursor.execute(
                "SELECT coalesce(paths, '{}') FROM fm_pipeline.import_chunks WHERE job_id = %s AND number = %s",
                (self._chunk.job_id, self._chunk.number),
            )
            ((paths,),) = cursor.fetchall()
            return list(paths)

        return self.run(action)

    def write(self, entries: Sequence[HistoryEntry], totals: ScanTotals, waits: str | None = None) -> Job:
        """Record outcomes of files and the progress of the job. Its totals were recorded when it was cut."""
        return super().write(entries, replace(totals, unchanged=None, scan_ended=True), waits)

    def run(self, action: Callable[[Cursor], T]) -> T:
        """Run a transaction in the session of the chunk.

        Raises:
            ClaimLost: another process has the chunk; nothing was written.
        """

        def fenced(cursor: Cursor) -> T:
            cursor.execute(
                "SELECT FROM fm_pipeline.import_chunks WHERE job_id = %s AND number = %s AND fence = %s"
                " AND holder IS NOT NULL FOR SHARE",
                self._chunk.key,
            )
            if not cursor.rowcount:
                raise ClaimLost(self._chunk)
            return action(cursor)

        return super().run(fenced)

    def finish(
        self, status: JobStatus, reason: str | None = None, message: str | None = None, *, scanned: bool = False
    ) -> Job:
        """Finish the chunk: done, or free again. The job ends with its closing chunk, or because of a problem.

        A problem of this host alone ends the job only if no other process holds a chunk.

        Args:
            as of `JobLedger.finish`.

        Returns:
            The job, with the reason and message of this chunk.
        """
        if status == "completed":
            return self._done()

        goes_on = reason == "interrupted" and self._is_launched_again

        def action(cursor: Cursor) -> Job:
            self._release(cursor)
            if not goes_on and (reason not in OF_THIS_HOST or not others_live(cursor, self.job_id)):
                end_if_running(cursor, self.job_id, status, reason, message)
            return replace(read_job(cursor, self.job_id), error_reason=reason, error_message=message)

        return self.run(action)

    def pause(self) -> Job:
        """Free the chunk, of which a part is done, and return the row of the job."""

        def action(cursor: Cursor) -> Job:
            self._release(cursor)
            return read_job(cursor, self.job_id)

        return self.run(action)

    def _release(self, cursor: Cursor) -> None:
        cursor.execute(
            "UPDATE fm_pipeline.import_chunks SET holder = NULL WHERE job_id = %s AND number = %s AND fence = %s",
            self._chunk.key,
        )

    def _done(self) -> Job:
        def action(cursor: Cursor) -> Job:
            cursor.execute(
                "UPDATE fm_pipeline.import_chunks SET holder = NULL, done_at = clock_timestamp()"
                " WHERE job_id = %s AND number = %s AND fence = %s AND holder IS NOT NULL",
                self._chunk.key,
            )
            if cursor.rowcount and self._chunk.closing:
                self._finish(cursor, "completed", None, None, scanned=True)
                cursor.execute("UPDATE fm_pipeline.import_chunks SET paths = NULL WHERE job_id = %s", (self.job_id,))
            cursor.execute(  # a repeated transaction finds what the first one did
                "SELECT FROM fm_pipeline.import_chunks WHERE job_id = %s AND number = %s AND fence = %s"
                " AND done_at IS NOT NULL",
                self._chunk.key,
            )
            if not cursor.rowcount:
                raise ClaimLost(self._chunk)
            return read_job(cursor, self.job_id)

        return super().run(action)


def end_if_running(cursor: Cursor, job_id: int, status: JobStatus, reason: str | None, message: str | None) -> None:
    """End a job, unless another process has ended it. The job can be resumed."""
    cursor.execute(
        "UPDATE fm_pipeline.import_jobs SET status = %s, error_reason = %s, error_message = %s,"
        " completed_at = clock_timestamp(), updated_at = clock_timestamp() WHERE id = %s AND status = 'running'",
        (status, reason, message, job_id),
    )
