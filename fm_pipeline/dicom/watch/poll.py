"""Poll the watched directory for new files. The cost depends on how much has changed.

A directory is not listed if its mtime is unchanged since all its files were settled. A tick over a million files in ten
thousand directories reads ten thousand mtimes. A file that is rewritten in place does not change the mtime of its
directory, and on some shares a new file does not either. So each tick also lists the directories that were listed
longest ago, and each directory is listed within an hour or so.

No file is lost between a tick and its job: a directory stays unsettled until history knows each of its files. No file
is put into two jobs: files of pending and running jobs are left out.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.files.open import unreadable_reason
from fm_pipeline.dicom.history.rows import bigint
from fm_pipeline.dicom.model import FoundFile, SetAside, Unreadable
from fm_pipeline.dicom.paths import mount_point_of, path_hash
from fm_pipeline.dicom.scan.excluded_folders import KNOWN, REASON, ExcludedFolders
from fm_pipeline.dicom.scan.list import DirectoryEntry, entry_path, list_directory, stream_directory
from fm_pipeline.dicom.scan.walk import met
from fm_pipeline.dicom.watch import watched_directories
from fm_pipeline.dicom.watch.history_lookup import (
    MOST_ASKED_AT_ONCE,
    HistoryState,
    ReservedFiles,
    look_up_history,
    reserved_by_jobs,
)
from fm_pipeline.dicom.watch.rules import (
    COARSEST_TIME_STAMP,
    LISTED_AGAIN_AFTER,
    LISTED_AGAIN_WHERE_UNMOVED,
    OLDEST_CACHE,
    FutureTimes,
    Quiet,
    Root,
    clock_behind,
    quiet,
    root_alarm,
)
from fm_pipeline.dicom.watch.watched_directories import WatchedDirectory, WatchedRoot

TIME_BUDGET_SECONDS = 20.0  # Dagster ends a tick after 60
_RELISTING_SHARE = 4  # one part in four of the time budget
MOST_FILES = 1_000
_REMEMBER_THE_FUTURE = timedelta(days=7)


@dataclass(slots=True)
class PollResult:
    """The result of a tick.

    Attributes:
        new_files: quiet, and unknown to history; at most as many as requested.
        more: there are more of them.
        waiting: the number of files within the quiet period.
        paused: why nothing was polled: an id of `reasons.UNREADABLE`. The root is missing, empty or not mounted. No
            saved state was deleted.
        excluded: the number of folders in the listed ones that are excluded by name.
        alarms: what could not be read. The paths are for the database and the terminal only.
        complete: every directory was checked in this tick, and every one could be read.
        oldest_listing: every directory was listed since then; None if one was never listed.
        unmoved_since: since when this file system is known not to change the mtime of a folder.
        clock_behind_seconds: how far the share's clock is behind ours, at most.
    """

    new_files: list[FoundFile] = field(default_factory=list)
    more: bool = False
    waiting: int = 0
    cancelled: int = 0
    excluded: int = 0
    paused: str | None = None
    alarms: list[Unreadable] = field(default_factory=list)
    complete: bool = False
    directories_asked: int = 0
    directories_listed: int = 0
    files_seen: int = 0
    oldest_listing: datetime | None = None
    unmoved_since: datetime | None = None
    clock_behind_seconds: float = 0.0


def poll(
    connection: Connection,
    root: str,
    *,
    now: datetime,
    quiet_seconds: float,
    time_budget: float = TIME_BUDGET_SECONDS,
    max_files: int = MOST_FILES,
    excluded: ExcludedFolders = KNOWN,
    clock: Callable[[], float] = time.monotonic,
) -> PollResult:
    """Poll the watched directory, save its state, and commit. The next tick continues what exceeds the budget.

    Args:
        connection: to the Nexus database, not in autocommit mode, without an open transaction.
        root: absolute (`paths.allowed`).
        now: with a time zone.
        quiet_seconds: how long a file must have been unchanged.
        time_budget: in seconds; a directory that is being listed when it expires is listed to its end.
    """
    try:
        with connection.cursor() as cursor:
            result = _tick(cursor, root, now, quiet_seconds, clock() + time_budget, max_files, excluded, clock)
        if result.paused:
            connection.rollback()
            _note_alarm(connection, root, result.paused, now)
        connection.commit()
    except BaseException:
        if not connection.closed:
            connection.rollback()
        raise
    return result


def inspect_root(root: str) -> Root:
    """Return the current state of the watched root."""
    try:
        with os.scandir(root) as entries:
            empty = next(entries, None) is None
        return Root(readable=True, empty=empty, mount_point=mount_point_of(root))
    except OSError:
        return Root(readable=False, empty=True, mount_point="")


def paused(root: str, remembered: WatchedRoot | None) -> str | None:
    """Return why the root cannot be trusted now: an id of `reasons.UNREADABLE`, or None."""
    before = Root(readable=True, empty=False, mount_point=remembered.mount_point) if remembered else None
    return root_alarm(inspect_root(root), before)


def _tick(
    cursor: Cursor,
    root: str,
    now: datetime,
    quiet_seconds: float,
    deadline: float,
    max_files: int,
    excluded: ExcludedFolders,
    clock: Callable[[], float],
) -> PollResult:
    remembered = watched_directories.find_root(cursor, root)
    if reason := paused(root, remembered):
        return PollResult(paused=reason, alarms=[Unreadable(root, is_directory=True, reason=reason)])
    if remembered is None:
        if inspect_root(root).empty:
            return PollResult(complete=True)
        remembered = watched_directories.remember_root(cursor, root, mount_point_of(root))
    work = _Poll(cursor, remembered, root, now, quiet_seconds, max_files, excluded, clock)
    begun = clock()
    work.list_unsettled(begun + (deadline - begun) / 2)
    work.list_again(min(deadline, clock() + (deadline - begun) / _RELISTING_SHARE))
    whole_round = work.ask_settled(deadline)
    nothing_left = work.list_unsettled(deadline)
    # If it was unmounted meanwhile, the results of this tick are worthless.
    if reason := paused(root, remembered):
        return PollResult(paused=reason, alarms=[Unreadable(root, is_directory=True, reason=reason)])
    work.end(whole_round)
    result = work.result
    result.oldest_listing = watched_directories.oldest_listing(cursor, remembered.id)
    result.unmoved_since, result.clock_behind_seconds = remembered.unmoved_since, remembered.clock_behind_seconds
    result.complete = whole_round and nothing_left and not result.more and not result.alarms
    return result


def _note_alarm(connection: Connection, root: str, reason: str, now: datetime) -> None:
    with connection.cursor() as cursor:
        if remembered := watched_directories.find_root(cursor, root):
            remembered.alarm = reason
            watched_directories.end_of_tick(cursor, remembered, now, round_completed=False)


class _Poll:
    """The state of one tick."""

    def __init__(
        self,
        cursor: Cursor,
        root: WatchedRoot,
        path: str,
        now: datetime,
        quiet_seconds: float,
        max_files: int,
        excluded: ExcludedFolders,
        clock: Callable[[], float],
    ) -> None:
        self.result = PollResult()
        self._cursor, self._root = cursor, root
        self._path, self._real_root, self._excluded = path, os.path.realpath(path), excluded
        self._now, self._quiet_seconds, self._max_files, self._clock = now, quiet_seconds, max_files, clock
        self._future = watched_directories.future_files(cursor, root.id)
        self._unmoved_by = False  # whether the directory that was listed last has a new file that is not recent
        self._kept: list[WatchedDirectory] = []
        self._gone: list[str] = []
        self._found: list[str] = []

    def list_unsettled(self, deadline: float) -> bool:
        """List unsettled directories, each once per tick. Return whether none is left."""
        while not self._must_end(deadline):
            self._write()
            batch = watched_directories.unsettled(self._cursor, self._root.id, self._now)
            if not batch:
                return True
            for directory in batch:
                if self._must_end(deadline):
                    break
                self._list(directory)
        self._write()
        return not watched_directories.unsettled(self._cursor, self._root.id, self._now)

    def list_again(self, deadline: float) -> None:
        """List settled directories that were not listed for a while, whatever their mtime."""
        after = LISTED_AGAIN_WHERE_UNMOVED if self._root.unmoved_since else LISTED_AGAIN_AFTER
        while batch := watched_directories.settled_not_listed_since(self._cursor, self._root.id, self._now - after):
            for directory in batch:
                if self._must_end(deadline):
                    self._write()
                    return
                self._list(directory)
            self._write()

    def ask_settled(self, deadline: float) -> bool:
        """Check the mtimes of settled directories from where the last tick ended. Return whether all were checked."""
        from_the_beginning = self._root.round_position is None
        while batch := watched_directories.settled_after(self._cursor, self._root.id, self._root.round_position):
            for directory in batch:
                if self._must_end(deadline):
                    self._write()
                    return False
                self._ask(directory)
                self._root.round_position = directory.key
            self._write()
        self._root.round_position = None
        return from_the_beginning

    def end(self, round_completed: bool) -> None:
        """Save the state of the root and of files with times in the future."""
        self._root.alarm = None
        oldest = self._now - _REMEMBER_THE_FUTURE
        future = {key: seen for key, seen in self._future.items() if seen.since > oldest}
        watched_directories.save_future_files(self._cursor, self._root.id, future)
        watched_directories.end_of_tick(self._cursor, self._root, self._now, round_completed=round_completed)

    def _must_end(self, deadline: float) -> bool:
        return self.result.more or self._clock() > deadline

    def _write(self) -> None:
        watched_directories.save(self._cursor, self._root.id, self._kept, self._now)
        watched_directories.forget(self._cursor, self._root.id, self._gone)
        watched_directories.remember_directories(self._cursor, self._root.id, self._found)
        self._kept, self._found, self._gone = [], [], []

    def _ask(self, directory: WatchedDirectory) -> None:
        self.result.directories_asked += 1
        try:
            facts = os.stat(directory.path)
            if bigint(facts.st_mtime_ns) != directory.settled_ns:
                if self._root.round_completed_at:
                    times = (facts.st_mtime_ns, facts.st_ctime_ns)
                    behind = clock_behind(times, self._root.round_completed_at, self._now)
                    self._root.clock_behind_seconds = behind
                self._list(directory)
        except OSError as error:
            self._not_read(directory, error)

    def _list(self, directory: WatchedDirectory) -> None:
        """List a directory, take its new files, and update whether it is settled."""
        if self._is_excluded(directory.path) or self._is_behind_a_link(directory.path):
            self._gone.append(directory.path)
            return
        self.result.directories_listed += 1
        try:
            is_mount = os.path.ismount(directory.path)
            if directory.is_mount and not is_mount:
                self._alarm(directory, "not_mounted")
                return
            listing = list_directory(directory.path, self._excluded)
            settled = complete = True
            self._unmoved_by = False
            if listing.fingerprint != directory.fingerprint:
                entries = (
                    listing.entries if listing.entries is not None else stream_directory(directory.path, self._excluded)
                )
                settled, complete = self._take(directory.path, entries)
        except OSError as error:
            self._not_read(directory, error)
            return
        self._found += listing.directories
        self.result.alarms += [each for each in listing.unreadable if each.reason != "vanished"]
        directory.is_mount = is_mount
        directory.fingerprint = listing.fingerprint if complete and not listing.unreadable else None
        modified_ns = bigint(listing.modified_ns)
        facts = str(modified_ns)
        still = quiet((modified_ns,), facts, directory.seen, self._now, COARSEST_TIME_STAMP.total_seconds())
        if self._unmoved_by and modified_ns == directory.settled_ns and self._root.unmoved_since is None:
            self._root.unmoved_since = self._now
        directory.settled_ns = modified_ns if settled and still is Quiet.YES else None
        directory.seen = self._since(directory.seen, facts) if still is Quiet.BY_OUR_CLOCK else None
        self._kept.append(directory)

    def _is_excluded(self, directory: str) -> bool:
        """Return whether a watched directory is excluded now, by its own name or by one in its path."""
        return self._excluded.excluded_part(directory.removeprefix(self._path)) is not None

    def _is_behind_a_link(self, directory: str) -> bool:
        """Return whether a link has replaced part of the path: an import would refuse the files behind it."""
        below = directory.removeprefix(self._path.rstrip(os.sep))
        return directory != self._path and os.path.realpath(directory) != self._real_root.rstrip(os.sep) + below

    def _take(self, directory: str, entries: Iterable[DirectoryEntry]) -> tuple[bool, bool]:
        """Take new files. Return whether none waits for a later tick, and whether history knows all entries."""
        settled = complete = True
        rest = iter(entries)
        while piece := list(islice(rest, MOST_ASKED_AT_ONCE)):
            found = [met(entry_path(directory, name), facts, self._real_root) for name, facts in piece]
            self.result.files_seen += len(found)
            # Before the history: a job that ends in between has recorded its files by then.
            reserved = reserved_by_jobs(self._cursor, [each.path for each in found if isinstance(each, FoundFile)])
            for each, known in zip(found, look_up_history(self._cursor, found), strict=True):
                complete = complete and known is HistoryState.DONE
                if isinstance(each, SetAside) and each.reason == REASON:
                    self.result.excluded += 1
                # Entries that are set aside and files that failed before are left to the nightly scan.
                if known in {HistoryState.NEW, HistoryState.CHANGED} and isinstance(each, FoundFile):
                    settled = False
                    self._take_file(each, reserved)
                    self._unmoved_by |= known is HistoryState.NEW and self._came_long_ago(each)
            if self.result.more:
                return False, False
        return settled, complete

    def _came_long_ago(self, file: FoundFile) -> bool:
        """Return whether a file is older than any mtime of the directory that the client may cache."""
        times = (file.modified_ns, file.changed_ns)
        return quiet(times, "", None, self._now, OLDEST_CACHE.total_seconds()) is Quiet.YES

    def _take_file(self, file: FoundFile, reserved: ReservedFiles) -> None:
        if file.path in reserved.in_active_jobs:
            return
        if file.path in reserved.cancelled:
            self.result.cancelled += 1
            return
        key = path_hash(file.path)
        facts = f"{file.size}/{file.modified_ns}/{file.changed_ns}"
        times = (file.modified_ns, file.changed_ns)
        still = quiet(times, facts, self._future.get(key), self._now, self._quiet_seconds)
        if still is Quiet.BY_OUR_CLOCK:
            self._future[key] = self._since(self._future.get(key), facts)
        if still is not Quiet.YES:
            self.result.waiting += 1
        elif len(self.result.new_files) < self._max_files:
            self.result.new_files.append(file)
        else:
            self.result.more = True

    def _since(self, seen: FutureTimes | None, facts: str) -> FutureTimes:
        return seen if seen is not None and seen.facts == facts else FutureTimes(facts, self._now)

    def _not_read(self, directory: WatchedDirectory, error: OSError) -> None:
        """Note a directory that is gone; its files stay in history. Any other error is an alarm at each tick."""
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            self._gone.append(directory.path)
        else:
            self._alarm(directory, unreadable_reason(error))

    def _alarm(self, directory: WatchedDirectory, reason: str) -> None:
        self.result.alarms.append(Unreadable(directory.path, is_directory=True, reason=reason))
        directory.settled_ns = None
        self._kept.append(directory)
