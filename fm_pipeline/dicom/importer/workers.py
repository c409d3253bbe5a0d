"""The worker threads of an import: each takes a small bundle of files, reads it, looks it up, and sends it.

Each outcome is returned through a queue at once, so that the ledger row soon follows the upload.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

from fm_pipeline.dicom.files.archives.limits import ArchiveLimits
from fm_pipeline.dicom.files.buffer import BundleBuffer
from fm_pipeline.dicom.files.read import WHOLE_UP_TO_BYTES, Candidate, UnusableFile, read_candidate
from fm_pipeline.dicom.history.history_entry import HistoryEntry, entry_of
from fm_pipeline.dicom.importer.decide import OutcomeDecider
from fm_pipeline.dicom.importer.instance_lookup import Claims, InstanceLookup, KnownInstances, Turns
from fm_pipeline.dicom.model import FoundFile
from fm_pipeline.dicom.orthanc.delivery import Halted
from fm_pipeline.dicom.orthanc.errors import OtherInstanceId
from fm_pipeline.dicom.reasons import ARCHIVE
from fm_pipeline.dicom.scan.archive_members import FoundMember, read_member

# The size of a bundle, which one thread reads into memory: that many files, or that many bytes and one more file.
BUNDLE_FILES, BUNDLE_BYTES = 64, 4 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """A file to import.

    Attributes:
        number: in the order of the scan.
        sends: how often it was sent before without a response.
        waited_for: the instance that another file had claimed when this one was first read.
        member: set for a file in an archive.
    """

    found: FoundFile
    number: int
    sends: int = 0
    waited_for: str | None = None
    member: FoundMember | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """Another file of the same instance is in progress. This one is tried again when that one is in the ledger."""

    task: Task


@dataclass(frozen=True, slots=True)
class IsArchive:
    """The file is an archive. It is opened when all files on the disk are done."""

    task: Task


@dataclass(frozen=True, slots=True)
class Untouched:
    """The job is being stopped, and nothing was done with this file."""

    task: Task


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome of a file, and the instance that it had claimed."""

    entry: HistoryEntry
    claimed: str | None = None


Result = Done | Later | IsArchive | Untouched | BaseException


class Workers:
    """The worker threads, as a context manager. On exit they finish the uploads in progress.

    Attributes:
        threads: their number.
        results: one for each task, and the error of a thread that failed; after an error nothing more is sent.
    """

    def __init__(
        self,
        decider: OutcomeDecider,
        lookup: InstanceLookup,
        limits: ArchiveLimits,
        halt: threading.Event,
        *,
        threads: int,
    ) -> None:
        self.threads = threads
        self.claims = Claims()
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._decider, self._lookup, self._limits, self._halt = decider, lookup, limits, halt
        self._bundles: queue.Queue[tuple[int, list[Task]] | None] = queue.Queue(maxsize=threads)
        self._turns, self._offered = Turns(), 0
        self._threads = [threading.Thread(target=self._work, name=f"import-{n}", daemon=True) for n in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._halt.set()
        self.join()

    def join(self) -> None:
        """End the threads after the bundles that they have."""
        for _ in self._threads:
            self._bundles.put(None)
        while self._threads:
            self._threads.pop().join()

    def offer(self, bundle: list[Task]) -> bool:
        """Queue a bundle for the next free thread. Return False if the queue is full."""
        try:
            self._bundles.put_nowait((self._offered, bundle))
        except queue.Full:
            return False
        self._offered += 1
        return True

    def _work(self) -> None:
        memory = BundleBuffer(BUNDLE_BYTES + WHOLE_UP_TO_BYTES)
        while (numbered := self._bundles.get()) is not None:
            try:
                self._carry_out(*numbered, memory)
            finally:
                self._turns.passed(numbered[0])
            memory.clear()  # outcomes hold no content, so nothing refers to the buffer after a bundle

    def _carry_out(self, number: int, bundle: Sequence[Task], memory: BundleBuffer) -> None:
        left = list(bundle)
        claimed: list[str] = []
        opened = ExitStack()
        try:
            candidates: list[tuple[Task, Candidate]] = []
            for task in bundle:
                self._raise_if_cancelled()
                read = self._read(task, memory)
                wanted = read.instance.orthanc_id if isinstance(read, Candidate) else None
                if task.waited_for and task.waited_for != wanted:
                    self.claims.withdraw(task.waited_for, task.number)
                if isinstance(read, Candidate):
                    opened.callback(read.close)
                    candidates.append((task, read))
                else:
                    left.remove(task)
                    is_archive = read.reason == ARCHIVE and task.member is None
                    self.results.put(IsArchive(replace(task, found=read.found)) if is_archive else Done(entry_of(read)))
            candidates = self._claim(number, candidates, claimed, left)
            known = self._lookup.of([candidate.instance for _, candidate in candidates])
            for task, candidate, entry in self._outcomes(candidates, known):
                left.remove(task)
                claimed.remove(candidate.instance.orthanc_id)
                self.results.put(Done(entry, candidate.instance.orthanc_id))
                if entry.has_another_id:
                    raise OtherInstanceId
        except Halted:
            pass
        except BaseException as fault:  # noqa: BLE001  # given to the thread that waits for the results
            self._halt.set()
            self.results.put(fault)
        finally:
            opened.close()
            self.claims.release(claimed)
            for task in left:
                self.results.put(Untouched(task))

    def _read(self, task: Task, memory: BundleBuffer) -> Candidate | UnusableFile:
        return read_member(task.member, self._limits, memory) if task.member else read_candidate(task.found, memory)

    def _claim(
        self, number: int, candidates: Sequence[tuple[Task, Candidate]], claimed: list[str], left: list[Task]
    ) -> list[tuple[Task, Candidate]]:
        """Claim instances after every earlier bundle has. Candidates that have to wait are returned as `Later`."""
        self._turns.wait(number)
        mine = []
        for task, candidate in candidates:
            orthanc_id = candidate.instance.orthanc_id
            if self.claims.take(orthanc_id, task.number):
                claimed.append(orthanc_id)
                mine.append((task, candidate))
            else:
                left.remove(task)
                self.results.put(Later(replace(task, waited_for=orthanc_id)))
        self._turns.passed(number)
        return mine

    def _outcomes(
        self, candidates: Sequence[tuple[Task, Candidate]], known: KnownInstances
    ) -> Iterator[tuple[Task, Candidate, HistoryEntry]]:
        """Send the candidates, small ones together, and yield the outcome of each."""
        left = deque(candidates)
        while left:
            self._raise_if_cancelled()
            together = self._together(left, known)
            if len(together) > 1:
                tasks = {id(candidate): task for task, candidate in together}
                for candidate, entry in self._decider.entries_together([each for _, each in together], known):
                    yield tasks[id(candidate)], candidate, entry
            else:
                task, candidate = together[0] if together else left.popleft()
                yield task, candidate, self._decider.entry(candidate, known, task.sends)

    def _together(self, left: deque[tuple[Task, Candidate]], known: KnownInstances) -> list[tuple[Task, Candidate]]:
        """Take the next candidates that are sent in one request; none if the next one is sent alone."""
        of = self._decider.delivery.batch_size
        largest = left[0][1].found.size
        if largest > of.most_bytes or not of.gains(largest):
            return []
        taken: list[tuple[Task, Candidate]] = []
        size = 0
        while left:
            task, candidate = left[0]
            size += candidate.found.size
            if size > of.most_bytes or candidate.found.size.bit_length() > largest.bit_length():
                break
            if not self._decider.may_be_sent_together(candidate, known, task.sends):
                break
            taken.append(left.popleft())
        return taken

    def _raise_if_cancelled(self) -> None:
        if self._halt.is_set():
            raise Halted
