"""Archives of a job: those that wait to be opened, and those of which members are still on their way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fm_pipeline.dicom.files.archives.limits import ArchiveLimits
from fm_pipeline.dicom.history.history_entry import HistoryEntry, entry_of
from fm_pipeline.dicom.importer.archive_feed import ArchiveFeed, ArchiveItem, ArchiveListed
from fm_pipeline.dicom.model import FoundFile, Outcome
from fm_pipeline.dicom.paths import archive_of
from fm_pipeline.dicom.scan.archive_members import FoundMember
from fm_pipeline.dicom.scan.excluded_folders import ExcludedFolders
from fm_pipeline.dicom.scan.spool import Spool


@dataclass(slots=True)
class _OpenArchiveState:
    """An archive of which members were given.

    Attributes:
        left: members without an end.
        failed: one of them has failed, so that the archive is opened again by the next job.
        given: all members were given; then the archive ends with the last of them.
    """

    left: int = 0
    failed: bool = False
    given: ArchiveListed | None = None


class ArchiveQueue:
    """Of one job. The files on the disk come first: only then are archives opened, one after another.

    So which of several files of one instance is imported does not depend on how fast an archive is read. An archive
    has its own row when each of its members has one: a job that is ended in between opens it again.
    """

    def __init__(self, limits: ArchiveLimits, excluded: ExcludedFolders, halt: threading.Event) -> None:
        self.count = 0
        self._limits, self._excluded, self._halt = limits, excluded, halt
        self._waiting = Spool()
        self._feed: ArchiveFeed | None = None
        self._open_archives: dict[str, _OpenArchiveState] = {}

    def add(self, found: FoundFile) -> None:
        """An archive was met."""
        self.count += 1
        self._waiting.put(found)

    def take(self, seconds: float) -> list[ArchiveItem] | None:
        """Some of what is in the archives; None once all was taken, and if there is none.

        The first call says that no archive is added any more.
        """
        if not self.count:
            return None
        if self._feed is None:
            self._waiting.end()
            self._feed = ArchiveFeed(self._to_the_end(), self._limits, self._excluded, self._halt)
        return self._feed.take(seconds)

    @property
    def opening(self) -> bool:
        """Whether the first archive was asked for."""
        return self._feed is not None

    def begun(self, item: FoundMember) -> None:
        """A member is on its way."""
        self._of(item.archive.found.path).left += 1

    def given(self, item: ArchiveListed) -> HistoryEntry | None:
        """All members of an archive were given; its row, if none of them is on its way."""
        path = item.end.found.path
        self._of(path).given = item
        return self._end_if_done(path)

    def ended(self, entry: HistoryEntry, *, counted: bool = True) -> HistoryEntry | None:
        """A member has an end; the row of its archive, if it was the last one.

        Args:
            counted: it was on its way.
        """
        path = archive_of(entry.path)
        if path is None:
            return None
        state = self._of(path)
        state.left -= counted
        state.failed = state.failed or entry.outcome is Outcome.FAILED
        return self._end_if_done(path)

    def settled_before(self, item: FoundMember) -> HistoryEntry | None:
        """A member that was on its way is known already; the row of its archive, if it was the last one."""
        path = item.archive.found.path
        self._of(path).left -= 1
        return self._end_if_done(path)

    def close(self) -> None:
        """End the reading; nobody may read a member any more."""
        if self._feed:
            self._feed.close()
        self._waiting.end()
        self._waiting.close()

    def _of(self, path: str) -> _OpenArchiveState:
        return self._open_archives.setdefault(path, _OpenArchiveState())

    def _end_if_done(self, path: str) -> HistoryEntry | None:
        state = self._open_archives[path]
        if state.given is None or state.left:
            return None
        del self._open_archives[path]
        if self._feed and state.given.archive:
            self._feed.release(state.given.archive)
        end = state.given.end
        if state.failed:
            end = replace(end, outcome=Outcome.FAILED, reason="member_failed")
        return entry_of(end)

    def _to_the_end(self) -> Iterator[FoundFile]:
        while (some := self._waiting.take(0)) is not None:
            yield from (each for each in some if isinstance(each, FoundFile))
