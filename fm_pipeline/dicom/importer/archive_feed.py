"""A thread that opens the archives of a job one after another, and queues their members."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from fm_pipeline.dicom.files.archives.faults import ArchiveFault
from fm_pipeline.dicom.files.archives.limits import ArchiveLimits, CancelCheck
from fm_pipeline.dicom.files.archives.opened import OpenArchive
from fm_pipeline.dicom.files.open import FileChangedError
from fm_pipeline.dicom.files.read import UnusableFile, refreshed
from fm_pipeline.dicom.model import FoundFile, Outcome
from fm_pipeline.dicom.orthanc.delivery import Halted
from fm_pipeline.dicom.reasons import of_archive
from fm_pipeline.dicom.scan.archive_members import FoundMember, found_members, reason_of, without_rows
from fm_pipeline.dicom.scan.excluded_folders import ExcludedFolders

_AHEAD = 32  # members that wait; each may hold an archive open


@dataclass(frozen=True, slots=True)
class ArchiveListed:
    """All members of an archive have been queued.

    Attributes:
        end: the outcome of the archive itself if none of its members fails.
        archive: to close when no member is being read; None if it could not be opened.
    """

    end: UnusableFile
    archive: OpenArchive | None


ArchiveItem = FoundMember | UnusableFile | ArchiveListed


def items_of(
    found: FoundFile,
    limits: ArchiveLimits,
    excluded: ExcludedFolders,
    opened: Callable[[OpenArchive], object],
    raise_if_cancelled: CancelCheck = lambda: None,
) -> Iterator[ArchiveItem]:
    """Yield the members of an archive that get rows, and finally the archive itself.

    Args:
        opened: called with the open archive. The caller has to close it.
    """
    try:
        archive = _opened(found, limits, raise_if_cancelled)
        opened(archive)
    except ArchiveFault as fault:
        yield ArchiveListed(UnusableFile(found, of_archive(fault.reason), fault.reason), None)
        return
    except FileChangedError:
        yield ArchiveListed(UnusableFile(found, Outcome.FAILED, "changed"), None)
        return
    except OSError as error:
        yield ArchiveListed(UnusableFile(found, Outcome.FAILED, reason_of(error)), None)
        return
    any_rows = False
    for item in found_members(archive, excluded, limits, raise_if_cancelled):
        any_rows = True
        yield item
    reason = archive.fault or ("archive_opened" if any_rows else without_rows(archive))
    yield ArchiveListed(UnusableFile(archive.found, of_archive(reason), reason), archive)


def _opened(found: FoundFile, limits: ArchiveLimits, raise_if_cancelled: CancelCheck) -> OpenArchive:
    try:
        return OpenArchive(found, limits, raise_if_cancelled)
    except FileChangedError:
        now = refreshed(found)
    try:
        return OpenArchive(now, limits, raise_if_cancelled)
    except ArchiveFault:
        raise FileChangedError from None  # still being written, or no archive any more


class ArchiveFeed:
    """The thread. It runs until `close`.

    Args:
        archives: all archives of a job; iterated over by the thread.
        halt: set when nothing more may be sent.
    """

    def __init__(
        self, archives: Iterable[FoundFile], limits: ArchiveLimits, excluded: ExcludedFolders, halt: threading.Event
    ) -> None:
        self._archives, self._limits, self._excluded, self._halt = archives, limits, excluded, halt
        self._queue: queue.Queue[ArchiveItem | BaseException | None] = queue.Queue(_AHEAD)
        self._closed = threading.Event()
        self._opened: set[OpenArchive] = set()
        self._thread = threading.Thread(target=self._fill, name="archives", daemon=True)
        self._thread.start()

    def take(self, seconds: float) -> list[ArchiveItem] | None:
        """Return the next items; an empty list if none came in time, None after the last one.

        Raises:
            BaseException: the error that ended the thread.
        """
        items: list[ArchiveItem] = []
        try:
            while True:
                item = self._queue.get(timeout=seconds) if seconds and not items else self._queue.get_nowait()
                if item is None or isinstance(item, BaseException):
                    self._queue.put(item)  # there is room: it was the last one
                    if items:
                        return items
                    if item is None:
                        return None
                    raise item
                items.append(item)
        except queue.Empty:
            return items

    def close(self) -> None:
        """End the thread and close all archives. No member may be read afterwards."""
        self._closed.set()
        self._thread.join()
        for archive in list(self._opened):
            self.release(archive)

    def release(self, archive: OpenArchive) -> None:
        """Close an archive when no member of it is being read.

        The operating system reuses the descriptor of a closed file, so a reader would read from another file.
        """
        self._opened.discard(archive)
        archive.close()

    def _fill(self) -> None:
        last: BaseException | None = None
        try:
            for found in self._archives:
                self._raise_if_cancelled()
                for item in items_of(found, self._limits, self._excluded, self._opened.add, self._raise_if_cancelled):
                    self._put(item)
        except Halted:
            pass
        except BaseException as fault:  # noqa: BLE001  # given to the thread that takes
            last = fault
        with suppress(Halted):
            self._put(last)

    def _put(self, item: ArchiveItem | BaseException | None) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return
        raise Halted

    def _raise_if_cancelled(self) -> None:
        if self._closed.is_set() or self._halt.is_set():
            raise Halted
