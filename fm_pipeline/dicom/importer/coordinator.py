"""The thread that distributes the files of a job to the workers and records the outcomes."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fm_pipeline.dicom.errors import RootUnavailable
from fm_pipeline.dicom.history.history_entry import HistoryEntry, entry_of
from fm_pipeline.dicom.history.job_ledger import JobLedger, PreviousRow, ScanTotals
from fm_pipeline.dicom.history.jobs import Job
from fm_pipeline.dicom.importer.archive_feed import ArchiveListed
from fm_pipeline.dicom.importer.archive_queue import ArchiveQueue
from fm_pipeline.dicom.importer.workers import (
    BUNDLE_BYTES,
    BUNDLE_FILES,
    Done,
    IsArchive,
    Later,
    Task,
    Untouched,
    Workers,
)
from fm_pipeline.dicom.model import FoundFile, SetAside, Unreadable
from fm_pipeline.dicom.reasons import STOPPED
from fm_pipeline.dicom.scan.archive_members import FoundMember
from fm_pipeline.dicom.scan.spool import Spool

_BATCH_ENTRIES, _BATCH_SECONDS = 250, 0.5  # a batch is written after either; progress is reported with each batch
_WAIT_SECONDS = 0.1


class ProgressReporter(Protocol):
    """The receiver of progress reports."""

    @property
    def waits(self) -> str | None:
        """A sentence while the job waits for Orthanc, otherwise None."""

    def __call__(self, name: str, done: int, total: int | None = None, *, errors: int = 0, waits: str | None) -> object:
        """Report the number of finished files; `waits` as recorded in the row."""


class Interrupted(Exception):
    """The job was cancelled, through the ledger or `Coordinator.stop`."""


class Paused(Exception):
    """A part of the job is done, as much as `BatchLimit` allows. All of it is recorded, and the job is not finished."""


@dataclass(frozen=True)
class BatchLimit:
    """How much of a job is done before `Paused`; at least one file, so that no call is in vain.

    Attributes:
        files: the most files that are handed to the workers.
        seconds: after these no file is handed to them any more.
    """

    files: int
    seconds: float


class Coordinator:
    """The coordinator of one job. Call `run`; if it raises, call `record_remaining`.

    Args:
        archives: opened when all files on the disk are done.
        left_out: returns the number of unchanged files that the scan has skipped so far.
        limit: None to carry out the whole job.
    """

    def __init__(
        self,
        ledger: JobLedger,
        workers: Workers,
        spool: Spool,
        job: Job,
        progress: ProgressReporter,
        archives: ArchiveQueue,
        left_out: Callable[[], int],
        limit: BatchLimit | None,
    ) -> None:
        self._limit, self._began_at = limit, time.monotonic()
        self._given = 0  # files
        self._ledger, self._workers, self._spool, self._job = ledger, workers, spool, job
        self._progress, self._archives, self._left_out = progress, archives, left_out
        self._any_job = job.job_type == "incremental"
        self._looks_back = self._any_job or job.files_processed > 0
        self._ready: deque[Task] = deque()
        self._later: list[Task] = []
        self._entries: list[HistoryEntry] = []
        self._claimed: list[str] = []
        self._unreadable: list[Unreadable] = []
        self._out = 0  # files that the workers have
        self._dealt = 0  # bundles
        self._numbered = 0  # files, in the order of the scan
        self._scanned = False
        self._all_opened = False
        self._members, self._members_bytes = 0, 0
        self._unchanged, self._unchanged_bytes = 0, 0
        self._written_at = time.monotonic()
        self._stopped = False
        self._met_anything = False

    @property
    def met_anything(self) -> bool:
        """Whether the scan has found at least one file, known or new."""
        return self._met_anything or self._left_out() > 0

    def stop(self) -> None:
        """Make `run` raise `Interrupted` soon. Called from another thread."""
        self._stopped = True

    def run(self) -> None:
        """Import everything.

        Raises:
            Interrupted: the job was cancelled.
            Paused: the limit is reached, and files are left.
            BaseException: an error of a worker or of the scan.
        """
        while True:
            if self._stopped:
                raise Interrupted
            self._deal()
            if self._all_opened and not self._out and not self._ready and not self._entries and not self._later:
                break
            if self._pauses():
                self._write()
                raise Paused
            self._collect(_WAIT_SECONDS if self._out else 0)
            self._write_if_due()
        self._write()

    def record_remaining(self) -> None:
        """Wait for the uploads that are in progress after a halt, and record their outcomes."""
        self._workers.join()
        while self._out > 0 and self._collect(0, faults=False):
            pass
        self._write(heed=False)

    def _deal(self) -> None:
        """Keep the workers busy: each has one bundle in progress and one in the queue.

        Not more, so that results are recorded and a cancellation is noticed in between.
        """
        while self._out < 2 * self._workers.threads * BUNDLE_FILES:
            if len(self._ready) < BUNDLE_FILES and not self._scanned:
                self._fetch()
            elif len(self._ready) < BUNDLE_FILES and not self._all_opened:
                self._fetch_members()
            if not self._ready or self._limit_reached():
                return
            bundle = list(self._bundle())
            if not self._workers.offer(bundle):
                self._ready.extendleft(reversed(bundle))
                return
            self._out += len(bundle)
            self._given += len(bundle)
            self._dealt += 1

    def _limit_reached(self) -> bool:
        """Return whether no more files may be handed to the workers."""
        if self._limit is None or not self._given:
            return False
        return self._given >= self._limit.files or self._late()

    def _late(self) -> bool:
        return self._limit is not None and time.monotonic() - self._began_at > self._limit.seconds

    def _pauses(self) -> bool:
        """Return whether the limit is reached, and files are left.

        Files that wait for others of the same instance are queued again when a batch is written.
        """
        if self._out or not self._limit_reached():
            return False
        return bool(self._ready or self._later) or self._late()

    def _bundle(self) -> Iterator[Task]:
        size = 0
        # The first bundles are small, so that uploads start at once. The last files are distributed evenly, so that no
        # single thread is left with all of them.
        first = 2 << min(self._dealt // self._workers.threads, BUNDLE_FILES.bit_length())
        ends = self._all_opened or (self._scanned and not self._archives.opening)
        last = -(-len(self._ready) // (2 * self._workers.threads)) if ends else BUNDLE_FILES
        most = self._limit.files - self._given if self._limit else BUNDLE_FILES
        for _ in range(min(BUNDLE_FILES, first, last, most, len(self._ready))):
            if size > BUNDLE_BYTES:
                return
            task = self._ready.popleft()
            size += task.found.size
            yield task

    def _fetch(self) -> None:
        """Fetch more entries from the scan, without those that are settled."""
        met = self._spool.take(0 if self._out or self._entries else _WAIT_SECONDS)
        if met is None:
            self._scanned = True
            return
        files: list[FoundFile | SetAside] = []
        for each in met:
            if isinstance(each, FoundFile | SetAside):
                files.append(each)
            elif each.is_directory:
                self._directory(each)
            else:
                self._entries.append(entry_of(each))
                self._met_anything = True
        before = self._ledger.previous_rows(files, any_job=self._any_job) if self._looks_back and files else {}
        for file in files:
            self._met_anything = True
            self._sort(file, before.get(file.path))

    def _sort(self, file: FoundFile | SetAside, before: PreviousRow | None) -> None:
        if before and before.covers(file):
            if before.of_this_job:
                return
            self._unchanged += 1
            self._unchanged_bytes += file.size if isinstance(file, FoundFile) else 0
        elif isinstance(file, SetAside):
            self._entries.append(entry_of(file))
        else:
            self._ready.append(Task(file, self._numbered, before.unanswered if before else 0))
            self._numbered += 1

    def _fetch_members(self) -> None:
        """Fetch more members of archives, once every file on the disk has its outcome."""
        if not self._archives.opening and (self._out or self._ready or self._later):
            return
        items = self._archives.take(0 if self._out or self._entries else _WAIT_SECONDS)
        if items is None:
            self._all_opened = True
            return
        members = [item for item in items if isinstance(item, FoundMember)]
        before = {}
        if self._looks_back and members:
            before = self._ledger.previous_rows([item.found for item in members], any_job=self._any_job)
        for item in items:
            if isinstance(item, FoundMember):
                self._sort_member(item, before.get(item.found.path))
            elif isinstance(item, ArchiveListed):
                self._add(self._archives.given(item))
            else:
                self._count_member(item.found)
                entry = entry_of(item)
                self._add(entry)
                self._add(self._archives.ended(entry, counted=False))

    def _sort_member(self, item: FoundMember, before: PreviousRow | None) -> None:
        self._archives.begun(item)
        self._count_member(item.found)
        if before and before.covers(item.found):
            if not before.of_this_job:
                self._unchanged += 1
                self._unchanged_bytes += item.found.size
            self._add(self._archives.settled_before(item))
            return
        self._ready.append(Task(item.found, self._numbered, before.unanswered if before else 0, member=item))
        self._numbered += 1

    def _count_member(self, found: FoundFile) -> None:
        self._members += 1
        self._members_bytes += found.size

    def _add(self, entry: HistoryEntry | None) -> None:
        if entry is not None:
            self._entries.append(entry)

    def _directory(self, directory: Unreadable) -> None:
        if directory.reason in {"root_empty", "not_mounted"}:
            reason = "no_files" if directory.reason == "root_empty" else "root_unavailable"
            raise RootUnavailable(STOPPED[reason])
        self._unreadable.append(directory)

    def _collect(self, seconds: float, *, faults: bool = True) -> bool:
        """Take the results of the workers. Return False if there are none."""
        try:
            result = self._workers.results.get(timeout=seconds) if seconds else self._workers.results.get_nowait()
        except queue.Empty:
            return False
        while True:
            if isinstance(result, BaseException):
                if faults:
                    raise result
            else:
                self._out -= 1
                self._take(result)
            try:
                result = self._workers.results.get_nowait()
            except queue.Empty:
                return True

    def _take(self, result: Done | Later | IsArchive | Untouched) -> None:
        if isinstance(result, Done):
            self._entries.append(result.entry)
            if result.claimed:
                self._claimed.append(result.claimed)
            self._add(self._archives.ended(result.entry))
        elif isinstance(result, IsArchive):
            self._archives.add(result.task.found)
            self._given -= 1  # nothing is recorded of it yet
        elif isinstance(result, Later):
            self._later.append(result.task)

    def _write_if_due(self) -> None:
        waited = time.monotonic() - self._written_at > _BATCH_SECONDS
        idle = not self._out and not self._ready and (self._entries or self._later)
        if waited or idle or len(self._entries) >= _BATCH_ENTRIES:
            self._write()

    def _write(self, *, heed: bool = True) -> None:
        """Write a batch. Then files that waited for others of the same instance are queued again."""
        if self._unreadable:
            self._ledger.unreadable(self._unreadable)
            self._unreadable = []
        waits = self._progress.waits  # read once for row and progress, because another thread may change it
        job = self._ledger.write(self._entries, self._totals(), waits)
        self._entries = []
        self._workers.claims.release(self._claimed)
        self._claimed = []
        self._ready.extend(sorted(self._later, key=lambda task: task.number))
        self._later = []
        self._written_at = time.monotonic()
        errors = job.files_bad + job.files_failed + job.files_suspect + job.files_conflict
        total = job.total_files if self._total_is_known else None
        self._progress("import", job.files_processed, total, errors=errors, waits=waits)
        if heed and (job.cancel_requested_at is not None or job.status != "running"):
            raise Interrupted

    def _totals(self) -> ScanTotals:
        return ScanTotals(
            self._spool.files + self._members - self._unchanged,
            self._spool.size_bytes + self._members_bytes - self._unchanged_bytes,
            self._unchanged + self._left_out(),
            self._total_is_known,
        )

    @property
    def _total_is_known(self) -> bool:
        """Whether the scan has ended and every archive so far has been opened."""
        return self._spool.ended and (self._all_opened or not self._archives.count)
