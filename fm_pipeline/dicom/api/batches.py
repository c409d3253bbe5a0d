"""Carry out a job in parts, for callers that cannot wait for its end.

A part works in a thread of this process and holds the job's lock, as a command and a run of Dagster do. It may take
longer than its caller waits: the scan of a large directory, a large file, or the comparison at the end. The next call
then joins the part that is at work, and does not start a second one.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillAtWork
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial

from fm_pipeline.dicom.api.requests import carry_out
from fm_pipeline.dicom.history.jobs import Job, get_job
from fm_pipeline.dicom.importer.coordinator import BatchLimit
from fm_pipeline.dicom.importer.run_job import ImportFailed, ImportOptions
from fm_pipeline.dicom.log import import_log
from fm_pipeline.errors import RequestError
from fm_pipeline.settings import Settings

LONGEST_SECONDS = 25.0  # most clients and proxies wait for 30 or 60
LARGEST_BATCH = 10_000


@dataclass
class Batches:
    """The parts that are at work in this process, by job."""

    settings: Settings
    _at_work: dict[int, Future[Job]] = field(default_factory=dict)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def process(self, job_id: int, *, actor: str, files: int, seconds: float = LONGEST_SECONDS) -> Job:
        """Import the next files of a job.

        Args:
            actor: the user.
            files: the most files of this part.
            seconds: how long the caller waits.

        Returns:
            The job: completed, cancelled, failed with its reason, or running, if files are left.

        Raises:
            RequestError: no such job (404); it is completed, or a person has cancelled it (409).
            LockStop: another process runs it, or a job on the same directory.
        """
        with self._changing:
            part = self._at_work.get(job_id)
            if part is None:
                self._refuse_ended(job_id)
                part = Future()
                work = partial(copy_context().run, self._work, part, job_id, actor, files)  # with the address
                threading.Thread(target=work, name=f"batch-{job_id}", daemon=True).start()
                self._at_work[job_id] = part  # until the thread has ended, which waits for `_changing`
        try:
            return part.result(timeout=seconds)
        except StillAtWork:
            return self._job(job_id)
        except ImportFailed as failed:
            return failed.job

    def _refuse_ended(self, job_id: int) -> None:
        job = self._job(job_id)
        if job.status in ("completed", "cancelled"):
            raise RequestError(
                f"Import job {job_id} is {job.status}.",
                code=409,
                meaning="Nothing was imported by this request.",
                remedy="Make a new job for the directory.",
            )

    def _work(self, part: Future[Job], job_id: int, actor: str, files: int) -> None:
        options = ImportOptions(limit=BatchLimit(files, LONGEST_SECONDS), resumes_cancelled=False)
        job, failure = None, None
        try:
            with import_log(self.settings):
                job = carry_out(self.settings, job_id, actor=actor, options=options)
        except BaseException as error:  # noqa: BLE001  # raised in the threads of those who wait
            failure = error
        with self._changing:  # first, so that a call after this one's answer begins a new part
            del self._at_work[job_id]
        if job is not None:
            part.set_result(job)
        else:
            part.set_exception(failure)

    def _job(self, job_id: int) -> Job:
        return get_job(self.settings.nexus_database_url.get_secret_value(), job_id)
