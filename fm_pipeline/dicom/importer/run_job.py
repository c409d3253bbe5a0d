"""Run an import job: scan, inspect, look up, send, record, compare. A job can be resumed.

    scan ──▶ spool ──▶ coordinator ──bundles─▶ workers ──▶ Orthanc
                            │ ◀───────outcomes──────────┘
                            ▼ batches, after the upload
                          ledger

The ledger row is written after the upload. If the process is killed in between, the resumed job finds the instance in
Orthanc with the same hash, and records it as already there: nothing is lost and nothing is stored twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo

from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.choices import THREADS
from fm_pipeline.dicom.configuration.roots import excluded_folders
from fm_pipeline.dicom.errors import RootUnavailable
from fm_pipeline.dicom.files.archives.limits import ArchiveLimits
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.dicom.history.chunks import ClaimLost
from fm_pipeline.dicom.history.job_ledger import JobLedger
from fm_pipeline.dicom.history.jobs import Job
from fm_pipeline.dicom.importer.archive_queue import ArchiveQueue
from fm_pipeline.dicom.importer.coordinator import BatchLimit, Coordinator, Interrupted, Paused
from fm_pipeline.dicom.importer.decide import OutcomeDecider
from fm_pipeline.dicom.importer.instance_lookup import InstanceLookup
from fm_pipeline.dicom.importer.verify import MissingInOrthanc, StoreBefore, compare, count_lost, read_store
from fm_pipeline.dicom.importer.workers import Workers
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.delivery import PATIENCE_SECONDS, Delivery
from fm_pipeline.dicom.orthanc.errors import OrthancStop, OrthancUnreachable
from fm_pipeline.dicom.paths import real_path
from fm_pipeline.dicom.reasons import MISSING, NOT_TAKEN_REMEDIES, STOPPED, sentence
from fm_pipeline.dicom.scan.excluded_folders import ExcludedFolders
from fm_pipeline.dicom.scan.listed_files import listed_files
from fm_pipeline.dicom.scan.spool import Spool
from fm_pipeline.dicom.scan.walk import Met, scan
from fm_pipeline.dicom.watch.new_files import NewFiles
from fm_pipeline.errors import DatabaseError, DicomError, PipelineError, unforeseen
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

_log = logging.getLogger(__name__)


class OnProgress(Protocol):
    """The signature of `Progress.update`: name of the step, done, total if known, errors, and what it waits for."""

    def __call__(self, name: str, done: int, total: int | None = None, *, errors: int = 0, note: str = "") -> object:
        """Report the progress of a step."""


class ImportFailed(DicomError):
    """A job has stopped. Its row has the reason, and it can be resumed."""

    def __init__(self, job: Job) -> None:
        self.job = job
        super().__init__(
            f"Import job {job.id} stopped: {job.error_message}",
            meaning=f"{counted(job.files_processed, 'file')} on record"
            + ("." if job.error_reason == MISSING else ", and nothing was marked as missing."),
            remedy=f"When its cause is removed, resume it: fm-pipeline dicom import --job-id {job.id}",
        )


@dataclass(frozen=True)
class ImportOptions:
    """Options of a job.

    Attributes:
        threads: parallel uploads.
        verify_md5: also compare the MD5 of every instance afterwards.
        retry_suspects: also send files that are known or expected to crash Orthanc.
        patience_seconds: how long to wait for an unavailable Orthanc.
        limit: how much of the job is carried out now; None for all of it.
        resumes_cancelled: whether a job that somebody has cancelled is resumed.
    """

    threads: int = THREADS
    verify_md5: bool = False
    retry_suspects: bool = False
    patience_seconds: float = PATIENCE_SECONDS
    limit: BatchLimit | None = None
    resumes_cancelled: bool = True


def run_job(
    settings: Settings,
    job_id: int,
    *,
    run_id: str | None = None,
    on_progress: OnProgress | None = None,
    options: ImportOptions | None = None,
) -> Job:
    """Run a pending job, or resume one that failed, was cancelled, or whose process was killed.

    Args:
        run_id: of the Dagster run.
        on_progress: for example `Progress.update`; called a few times per second at most.

    Returns:
        The job: completed, or cancelled on request; with a limit also running, and no process works on it then.

    Raises:
        RequestError: there is no such job, or it is completed.
        LockStop: another process runs it, or a job on the same directory.
        ImportFailed: it has stopped; the job's row has the reason.
        DatabaseError: the database was unavailable for too long. The job can be resumed.
        BaseException: an interruption (Ctrl-C, the end of a Dagster run), after uploads in progress were recorded.
    """
    return carry_out(settings, JobLedger(_url(settings), job_id), run_id, on_progress, options or ImportOptions())


def carry_out(
    settings: Settings, ledger: JobLedger, run_id: str | None, on_progress: OnProgress | None, options: ImportOptions
) -> Job:
    """Carry out the job, or the chunk of a job, that a ledger records. Arguments and errors are those of `run_job`."""
    url = _url(settings)
    halt = threading.Event()
    with (
        ledger,
        ReconnectingConnection(url, give_up=halt.is_set) as lookups,
        ReconnectingConnection(url, give_up=halt.is_set) as scanning,  # for queries of the scan's thread
        Orthanc.from_settings(settings) as orthanc,
    ):
        job = ledger.claim(run_id, resumes_cancelled=options.resumes_cancelled)
        _log.info("Import job %d has begun (%s).", job.id, job.job_type)
        delivery = Delivery(orthanc, halt, patience_seconds=options.patience_seconds)
        progress = JobProgress(delivery, on_progress or _ignore, ZoneInfo(settings.clinic_time_zone))
        try:
            source = _source(ledger, scanning, job, excluded_folders(settings))
            limits = ArchiveLimits.from_settings(settings)
            archives = ArchiveQueue(limits, excluded_folders(settings), halt)
            lookup = InstanceLookup(lookups, delivery)
            decider = OutcomeDecider(
                delivery,
                lookup.refused_before,
                retry_suspects=options.retry_suspects,
                never_overwrites=settings.orthanc_never_overwrites,
                brings_back=job.job_type != "incremental",
            )
            counts = ledger.reads_files and ledger.compares and settings.orthanc_keeps_all
            before = read_store(orthanc, job) if counts else None
            with closing(archives):  # when nobody reads them any more
                if ledger.reads_files:
                    _import_files(ledger, lookup, source, archives, limits, decider, halt, job, progress, options)
                if ledger.compares:
                    _compare(ledger, delivery, progress, options, before, keeps_all=settings.orthanc_keeps_all)
            job = ledger.finish("completed", scanned=True)
        except Interrupted:
            job = ledger.finish("cancelled")
        except Paused:
            return ledger.pause()
        except ClaimLost:
            raise  # what could be written now is another process's
        except Exception as error:  # noqa: BLE001  # raised again, without its text
            if isinstance(error, DatabaseError):
                ledger.do_not_wait()  # it has waited long enough; if this fails too, the row stays as it is
            job = ledger.finish("failed", *_failure(error))
            _log.warning("Import job %d has stopped: %s", job.id, job.error_message)
            # Another error's text may hold patient data, and Dagster shows causes.
            raise ImportFailed(job) from (error if isinstance(error, PipelineError) else None)
        except BaseException:
            ledger.finish("cancelled", "interrupted", STOPPED["interrupted"])
            raise
        _log.info("Import job %d is %s: %s.", job.id, job.status, counted(job.files_processed, "file"))
        return job


def _import_files(
    ledger: JobLedger,
    lookup: InstanceLookup,
    source: JobSource,
    archives: ArchiveQueue,
    limits: ArchiveLimits,
    decider: OutcomeDecider,
    halt: threading.Event,
    job: Job,
    progress: JobProgress,
    options: ImportOptions,
) -> None:
    with (
        _scanning(source.met) as spool,
        Workers(decider, lookup, limits, halt, threads=options.threads) as workers,
    ):
        coordinator = Coordinator(ledger, workers, spool, job, progress, archives, source.left_out, options.limit)
        _run_uninterrupted(coordinator, halt)
    if not coordinator.met_anything:
        raise RootUnavailable(STOPPED["no_files"])


def _compare(
    ledger: JobLedger,
    delivery: Delivery,
    progress: JobProgress,
    options: ImportOptions,
    before: StoreBefore | None,
    *,
    keeps_all: bool,
) -> None:
    compared_so_far = 0

    def tell(done: int | None = None) -> None:
        nonlocal compared_so_far
        compared_so_far = compared_so_far if done is None else done
        waits = progress.waits
        ledger.waits(waits)
        progress("compare with Orthanc", compared_so_far, waits=waits)

    delivery.on_wait = tell
    delivery.wait_until_available()  # even if there is nothing to compare: the last file may have crashed it
    compared = compare(ledger, delivery, md5=options.verify_md5, keeps_all=keeps_all, on_progress=tell)
    fewer = count_lost(ledger.job(), delivery, before) if before else 0
    if compared.missing or fewer > 0:
        raise MissingInOrthanc(compared.missing, max(fewer - compared.missing, 0))
    if not_taken := ledger.not_taken():
        raise FilesNotTaken(*not_taken)


@dataclass(frozen=True)
class JobProgress:
    """The progress of a job, with a sentence while it waits for Orthanc."""

    delivery: Delivery
    on_progress: OnProgress
    zone: tzinfo

    @property
    def waits(self) -> str | None:
        """Since when the job waits, until when, and what to do; None if it does not wait."""
        waiting = self.delivery.waiting
        if waiting is None:
            return None
        since, until = (f"{at.astimezone(self.zone):%H:%M:%S}" for at in (waiting.since, waiting.until))
        return (
            f"Orthanc has not answered since {since}. The job waits for it until {until}; then it stops, and can be"
            " resumed. Start Orthanc, or check whether this machine reaches ORTHANC_URL."
        )

    def __call__(self, name: str, done: int, total: int | None = None, *, errors: int = 0, waits: str | None) -> None:
        """Report the progress of the job."""
        self.on_progress(name, done, total, errors=errors, note=waits or "")


def _run_uninterrupted(coordinator: Coordinator, halt: threading.Event) -> None:
    """Run the coordinator in its own thread, and let it record uploads in progress, whatever ends the job.

    Ctrl-C and Dagster's interruption are raised in the main thread between any two instructions, so there they could
    lose a result that was just taken from a queue. Here they only interrupt a wait.
    """

    def run() -> None:
        try:
            coordinator.run()
        except BaseException as error:
            halt.set()
            if isinstance(error, DatabaseError):
                raise  # there is nowhere to record anything
            coordinator.record_remaining()
            raise

    with ThreadPoolExecutor(1, thread_name_prefix="coordinator") as pool:
        running = pool.submit(run)
        try:
            running.result()
        except BaseException:
            halt.set()  # no new upload starts
            coordinator.stop()
            raise


class FilesNotTaken(DicomError):
    """All files were sent, and a setting of Orthanc or of a proxy kept some out. `reason` as in their rows."""

    def __init__(self, reason: str, count: int, smallest_bytes: int) -> None:
        self.reason = reason
        super().__init__(
            f"{counted(count, 'file')} could not be stored. {sentence(reason)}"
            f" The smallest has {size_formatted(smallest_bytes)}.",
            meaning="All other files have been sent.",
            remedy=f"{NOT_TAKEN_REMEDIES[reason]} Then resume the job: what is missing is sent.",
        )


@dataclass(frozen=True)
class JobSource:
    """The files of a job.

    Attributes:
        met: the entries, to iterate over once.
        left_out: returns the number of unchanged entries that the scan has skipped so far.
    """

    met: Iterable[Met]
    left_out: Callable[[], int] = lambda: 0


def _source(ledger: JobLedger, scanning: ReconnectingConnection, job: Job, excluded: ExcludedFolders) -> JobSource:
    root = real_path(job.source_path)
    files = ledger.files()
    if files is not None:
        return JobSource(listed_files(root, [real_path(path) for path in files], excluded))
    # A resumed job looks up every file in the ledger, because its own rows would look like those of earlier jobs.
    if job.job_type == "incremental" and not job.files_processed:
        new = NewFiles(scanning, root, now=datetime.now(UTC), excluded=excluded)
        return JobSource(new, lambda: new.unchanged)
    return JobSource(scan(root, excluded))


@contextmanager
def _scanning(source: Iterable[Met]) -> Iterator[Spool]:
    """Scan into a spool in a thread, for the duration of the block."""
    spool = Spool()
    thread = threading.Thread(target=spool.fill, args=(source,), name="scan", daemon=True)
    thread.start()
    try:
        yield spool
    finally:
        spool.close()
        thread.join()
        spool.close()


def _failure(error: Exception) -> tuple[str, str]:
    """Return the reason and the message of a failed job."""
    reason = "error"
    if isinstance(error, RootUnavailable):
        reason = "no_files" if error.what == STOPPED["no_files"] else "root_unavailable"
    elif isinstance(error, OrthancStop | FilesNotTaken):
        reason = error.reason
    elif isinstance(error, OrthancUnreachable):
        reason = "orthanc_unreachable"
    elif isinstance(error, MissingInOrthanc):
        reason = MISSING
    said = error if isinstance(error, PipelineError) else unforeseen(error)
    return reason, str(said)


def _url(settings: Settings) -> str:
    return settings.nexus_database_url.get_secret_value()


def _ignore(name: str, done: int, total: int | None = None, *, errors: int = 0, note: str = "") -> None:
    """Ignore the progress."""
