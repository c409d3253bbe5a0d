"""A full scan that yields only files that history does not know, for the nightly run and for `dicom new`.

It compares the size and times of every file, so it also finds what a tick misses: files that were rewritten in place,
and files that failed before. A directory with an unchanged fingerprint needs no lookup in history.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from itertools import islice

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.errors import RootUnavailable
from fm_pipeline.dicom.files.open import unreadable_reason
from fm_pipeline.dicom.history.rows import bigint
from fm_pipeline.dicom.model import Unreadable
from fm_pipeline.dicom.paths import mount_point_of, path_hash
from fm_pipeline.dicom.scan.excluded_folders import KNOWN, ExcludedFolders
from fm_pipeline.dicom.scan.list import DirectoryEntry, Listing, entry_path, list_directory, stream_directory
from fm_pipeline.dicom.scan.walk import Met, met, same_directory
from fm_pipeline.dicom.watch import watched_directories
from fm_pipeline.dicom.watch.history_lookup import (
    MOST_ASKED_AT_ONCE,
    HistoryState,
    directories_to_look_up,
    look_up_history,
)
from fm_pipeline.dicom.watch.poll import inspect_root, paused
from fm_pipeline.dicom.watch.rules import COARSEST_TIME_STAMP, Quiet, quiet
from fm_pipeline.dicom.watch.watched_directories import WatchedDirectory, WatchedRoot

_DIRECTORIES_AT_ONCE = 500


class NewFiles:
    """The entries below a directory that are not in history with the same size and times. Iterate over it once.

    It yields what `scan.walk.scan` yields, without known entries. An entry that is set aside is yielded once, and known
    from then on. A `failed` file is yielded again.

    Args:
        database: reconnects after a short outage. No transaction is open while the disk is read.
        root: absolute (`paths.allowed`).
        now: with a time zone.

    Attributes:
        unchanged_files: the number of files that were left out so far.
        unchanged_others: the number of links, pipes and the like that were left out.
        complete: at the end, whether every directory could be read.
    """

    def __init__(
        self, database: ReconnectingConnection, root: str, *, now: datetime, excluded: ExcludedFolders = KNOWN
    ) -> None:
        self.unchanged_files = self.unchanged_others = 0
        self.complete = False
        self._database, self._path, self._now, self._excluded = database, root, now, excluded
        self._real_root = os.path.realpath(root)
        self._kept: list[WatchedDirectory] = []

    @property
    def unchanged(self) -> int:
        """The number of all entries that were left out."""
        return self.unchanged_files + self.unchanged_others

    def __iter__(self) -> Iterator[Met]:
        """Yield the new entries.

        Raises:
            RootUnavailable: at the first step, if the root is missing or was replaced.
            DatabaseError: the database was unavailable for too long.
        """
        root = self._database.run(partial(watched_directories.find_root, root=self._path))
        reason = paused(self._path, root)
        if reason == "root_empty" or (reason is None and inspect_root(self._path).empty):
            yield Unreadable(self._path, is_directory=True, reason="root_empty")
            return
        if reason:
            raise RootUnavailable(f"The directory to be scanned cannot be read ({reason}).")
        if root is None:
            mount_point = mount_point_of(self._path)
            root = self._database.run(
                partial(watched_directories.remember_root, root=self._path, mount_point=mount_point)
            )
        before = os.stat(self._path)
        complete = True
        for each in self._walk(root):
            complete = complete and not isinstance(each, Unreadable)
            yield each
        if not same_directory(self._path, before) or paused(self._path, root):
            yield Unreadable(self._path, is_directory=True, reason="not_mounted")
            return
        self.complete = complete

    def _walk(self, root: WatchedRoot) -> Iterator[Met]:
        waiting = [self._path]
        to_be_asked = self._database.run(directories_to_look_up)
        while waiting:
            block = waiting[-_DIRECTORIES_AT_ONCE:]
            del waiting[-_DIRECTORIES_AT_ONCE:]
            fingerprints = self._database.run(partial(watched_directories.fingerprints, root_id=root.id, paths=block))
            for directory in block:
                try:
                    listing = list_directory(directory, self._excluded)
                except OSError as error:
                    yield Unreadable(directory, is_directory=True, reason=unreadable_reason(error))
                    continue
                waiting += listing.directories
                yield from listing.unreadable
                if listing.fingerprint == fingerprints.get(directory) and directory not in to_be_asked:
                    self.unchanged_files += listing.files
                    self.unchanged_others += listing.others
                    continue
                try:
                    yield from self._new_in(listing)
                except OSError as error:
                    yield Unreadable(directory, is_directory=True, reason=unreadable_reason(error))
            self._write(root)

    def _new_in(self, listing: Listing) -> Iterator[Met]:
        entries: Iterable[DirectoryEntry] | None = listing.entries
        rest = iter(entries if entries is not None else stream_directory(listing.path, self._excluded))
        all_known = not listing.unreadable
        while piece := list(islice(rest, MOST_ASKED_AT_ONCE)):
            found = [met(entry_path(listing.path, name), facts, self._real_root) for name, facts in piece]
            answers = self._database.run(partial(look_up_history, met=found))
            for each, known, (_, facts) in zip(found, answers, piece, strict=True):
                if known is not HistoryState.DONE:
                    all_known = False
                    yield each
                elif stat.S_ISREG(facts.st_mode):
                    self.unchanged_files += 1
                else:
                    self.unchanged_others += 1
        if all_known:
            still = quiet((listing.modified_ns,), "", None, self._now, COARSEST_TIME_STAMP.total_seconds())
            self._kept.append(
                WatchedDirectory(
                    path=listing.path,
                    key=path_hash(listing.path),
                    is_mount=os.path.ismount(listing.path),
                    settled_ns=bigint(listing.modified_ns) if still is Quiet.YES else None,
                    fingerprint=listing.fingerprint,
                )
            )

    def _write(self, root: WatchedRoot) -> None:
        def action(cursor: Cursor) -> None:
            watched_directories.find_root(
                cursor, self._path
            )  # locked: a tick of the sensor may write rows of the same directories
            watched_directories.save(cursor, root.id, self._kept, self._now)

        if self._kept:
            self._database.run(action)
            self._kept = []
