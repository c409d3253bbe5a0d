"""Carry out chunks of a job that several processes share, on one host or on many.

Each process claims a chunk, imports it as `run_job` imports a job, and claims the next one. The chunk of a process that
has died is taken over after a minute. Two processes may then send the same file: Orthanc keeps the first, and the
history has the one row of the process that holds the chunk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.history.chunk_ledger import ChunkLedger, end_if_running
from fm_pipeline.dicom.history.chunks import (
    HEARTBEAT_SECONDS,
    SILENT_SECONDS,
    Chunk,
    ClaimLost,
    beat,
    claim_chunk,
    others_live,
)
from fm_pipeline.dicom.history.job_ledger import JobLedger
from fm_pipeline.dicom.history.jobs import Job, read_job
from fm_pipeline.dicom.importer.run_job import ImportOptions, OnProgress, carry_out
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.reasons import STOPPED
from fm_pipeline.errors import PipelineError, RequestError
from fm_pipeline.settings import Settings

_WAIT_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClaimTimes:
    """Seconds between heartbeats, and of silence after which a chunk is taken over. The same on all hosts."""

    heartbeat: float = HEARTBEAT_SECONDS
    silent: float = SILENT_SECONDS


def run_chunks(
    settings: Settings,
    job_id: int,
    *,
    run_id: str | None = None,
    on_progress: OnProgress | None = None,
    options: ImportOptions | None = None,
    only: int | None = None,
    times: ClaimTimes = ClaimTimes(),
) -> Job:
    """Start, resume or join a job in chunks, and carry out chunks until none is left.

    Args:
        only: carry out only this chunk, and do not start the job; if the chunk cannot be claimed, nothing is done.

    Returns:
        The job: completed, cancelled or failed by any of its processes. With `only` also running.

    Raises:
        RequestError: Orthanc overwrites instances, so that two processes could replace each other's; or as `run_job`.
        others: as `run_job`.
    """
    options = options or ImportOptions()
    database_url = settings.nexus_database_url.get_secret_value()
    with JobLedger(database_url, job_id, shared=True) as watch:
        if only is None:
            _refuse_overwriting(settings)
            watch.claim(run_id, resumes_cancelled=options.resumes_cancelled)
        while True:
            chunk = watch.run(lambda cursor: claim_chunk(cursor, job_id, number=only, silent_seconds=times.silent))
            if chunk is None:
                job = watch.run(lambda cursor: _ended(cursor, job_id))
                if only is not None or job.status != "running":
                    return job
                _wait(watch, times)
                continue
            _log.info("Import job %d: chunk %d is claimed, claim %d of it.", *chunk.key)
            with _heartbeat(watch, chunk, times):
                try:
                    ledger = ChunkLedger(database_url, chunk, is_launched_again=only is not None)
                    job = carry_out(settings, ledger, run_id, on_progress, options)
                except ClaimLost as lost:
                    _log.warning("%s", lost)
                    job = watch.job()
            if only is not None and job.status == "running":  # a cancel after its last file is noticed by nobody else
                return watch.run(lambda cursor: _ended(cursor, job_id))
            if only is not None or options.limit is not None or job.status != "running":
                return job


def start_chunks(settings: Settings, job_id: int, *, run_id: str) -> Job:
    """Start or resume a job whose chunks are carried out by runs of Dagster (`only`). Nothing is imported here.

    Raises:
        as `run_chunks`.
    """
    _refuse_overwriting(settings)
    with JobLedger(settings.nexus_database_url.get_secret_value(), job_id, shared=True) as watch:
        return watch.claim(run_id)


def _refuse_overwriting(settings: Settings) -> None:
    """Refuse an Orthanc that replaces an instance by another file of it: the order of the hosts would decide."""
    with Orthanc.from_settings(settings) as orthanc:
        overwrites = orthanc.overwrites()
    if overwrites is None:
        overwrites = not settings.orthanc_never_overwrites
    if overwrites:
        raise RequestError(
            "Orthanc overwrites instances that it has, or does not report whether it does.",
            meaning="Several processes that import at once could replace each other's files, so nothing was imported.",
            remedy="Set OverwriteInstances to false in Orthanc's configuration (for an Orthanc older than 1.11, confirm"
            " this with ORTHANC_NEVER_OVERWRITES=true), or import the directory without chunks.",
        )


def _ended(cursor: Cursor, job_id: int) -> Job:
    """Return the job; cancelled, if that was requested and no process was at work to notice."""
    job = read_job(cursor, job_id)
    if job.status == "running" and job.cancel_requested_at is not None:
        end_if_running(cursor, job_id, "cancelled", None, None)
        job = read_job(cursor, job_id)
    return job


def _wait(watch: JobLedger, times: ClaimTimes) -> None:
    """Wait for the chunks of other processes. If this one is interrupted and no other is left, the job is cancelled."""
    try:
        time.sleep(min(_WAIT_SECONDS, times.silent))
    except BaseException:

        def leave(cursor: Cursor) -> None:
            if not others_live(cursor, watch.job_id, silent_seconds=times.silent):
                end_if_running(cursor, watch.job_id, "cancelled", "interrupted", STOPPED["interrupted"])

        watch.run(leave)
        raise


@contextmanager
def _heartbeat(watch: JobLedger, chunk: Chunk, times: ClaimTimes) -> Iterator[None]:
    """Record every few seconds, in a thread, that this process lives."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(times.heartbeat):
            try:
                if not watch.run(lambda cursor: beat(cursor, chunk)):
                    return
            except PipelineError as error:  # also a lock that is not to be had again on a new connection
                _log.warning("The heartbeat of chunk %d stops: %s", chunk.number, error)
                return

    thread = threading.Thread(target=tell, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
