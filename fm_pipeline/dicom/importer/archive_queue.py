"""The archives of a job: those that wait to be opened, and those with members in progress."""

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
    """The state of an archive with members in progress.

    Attributes:
        left: the number of members without an outcome.
        failed: a member has failed, so that the next job opens the archive again.
        given: set when all members are queued; the archive gets its outcome with the last of them.
    """

    left: int = 0
    failed: bool = False
    given: ArchiveListed | None = None


class ArchiveQueue:
    """The archives of one job. They are opened one after another when all files on the disk are done.

    This way the speed of an archive does not decide which of several files of one instance is imported. An archive gets
    its own row after all its members have theirs, so a job that is interrupted in between opens it again.
    """

    def __init__(self, limits: ArchiveLimits, excluded: ExcludedFolders, halt: threading.Event) -> None:
        self.count = 0
        self._limits, self._excluded, self._halt = limits, excluded, halt
        self._waiting = Spool()
        self._feed: ArchiveFeed | None = None
        self._open_archives: dict[str, _OpenArchiveState] = {}

    def add(self, found: FoundFile) -> None:
        """Queue an archive."""
        self.count += 1
        self._waiting.put(found)

    def take(self, seconds: float) -> list[ArchiveItem] | None:
        """Return some items of the archives; None after the last one, and if there is no archive.

        No archive may be added after the first call.
        """
        if not self.count:
            return None
        if self._feed is None:
            self._waiting.end()
            self._feed = ArchiveFeed(self._to_the_end(), self._limits, self._excluded, self._halt)
        return self._feed.take(seconds)

    @property
    def opening(self) -> bool:
        """Whether archives are being opened."""
        return self._feed is not None

    def begun(self, item: FoundMember) -> None:
        """Count a member as in progress."""
        self._of(item.archive.found.path).left += 1

    def given(self, item: ArchiveListed) -> HistoryEntry | None:
        """Note that all members of an archive are queued. Return its row if none of them is in progress."""
        path = item.end.found.path
        self._of(path).given = item
        return self._end_if_done(path)

    def ended(self, entry: HistoryEntry, *, counted: bool = True) -> HistoryEntry | None:
        """Note the outcome of a member. Return the row of its archive if it was the last one.

        Args:
            counted: the member was counted as in progress.
        """
        path = archive_of(entry.path)
        if path is None:
            return None
        state = self._of(path)
        state.left -= counted
        state.failed = state.failed or entry.outcome is Outcome.FAILED
        return self._end_if_done(path)

    def settled_before(self, item: FoundMember) -> HistoryEntry | None:
        """Note a member that has its outcome already. Return the row of its archive if it was the last one."""
        path = item.archive.found.path
        self._of(path).left -= 1
        return self._end_if_done(path)

    def close(self) -> None:
        """Stop reading archives. No member may be read afterwards."""
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
