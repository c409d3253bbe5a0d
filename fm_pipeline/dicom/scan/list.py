"""List one directory, with a fingerprint that changes when any of its entries does.

Every file of the hospital passes this loop every night, so it does as little as possible for each.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter, itemgetter

from fm_pipeline.dicom.files.open import open_descriptor, unreadable_reason
from fm_pipeline.dicom.model import Unreadable
from fm_pipeline.dicom.scan.excluded_folders import ExcludedFolders

DirectoryEntry = tuple[str, os.stat_result]

# Entries kept in memory. A larger directory is read a second time, in pieces, if it has changed.
MOST_ENTRIES_HELD = 10_000
_FILE_TYPE = 0o170000
_MODULUS = 1 << 128


@dataclass(slots=True)
class Listing:
    """The content of a directory.

    Attributes:
        modified_ns: its mtime, read before its entries.
        files, size: the number of regular files, and their bytes.
        others: the number of links, pipes, excluded folders and the like.
        directories: paths of the subdirectories, without excluded ones.
        entries: all other entries, with name and `stat`; None if there are more than `MOST_ENTRIES_HELD`.
        unreadable: entries whose `stat` failed.
        fingerprint: a uuid; equal for listings with the same entries (subdirectories do not count).
    """

    path: str
    modified_ns: int
    files: int = 0
    size: int = 0
    others: int = 0
    directories: list[str] = field(default_factory=list)
    entries: list[DirectoryEntry] | None = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    fingerprint: str = ""

    def count(self, entries: Sequence[DirectoryEntry]) -> None:
        """Add some entries to the totals."""
        sizes = [facts.st_size for _, facts in entries if facts.st_mode & _FILE_TYPE == stat.S_IFREG]
        self.files += len(sizes)
        self.size += sum(sizes)
        self.others += len(entries) - len(sizes)


def list_directory(path: str, excluded: ExcludedFolders) -> Listing:
    """List a directory without following links. An excluded folder is an entry, as a link is.

    Raises:
        OSError: the directory cannot be listed.
    """
    with opened_directory(path) as (modified_ns, listed):
        listing = Listing(path, modified_ns)
        prefix = entry_path(path, "")
        held: list[DirectoryEntry] = []
        total: int | None = None
        for entry in listed:
            name = entry.name
            try:
                if entry.is_dir(follow_symlinks=False) and not excluded.excludes(path, name):
                    listing.directories.append(prefix + name)
                    continue
                held.append((name, entry.stat(follow_symlinks=False)))
            except OSError as error:
                reason = unreadable_reason(error)
                listing.unreadable.append(Unreadable(prefix + name, is_directory=False, reason=reason))
            if len(held) >= MOST_ENTRIES_HELD:
                total = (total or 0) + _sum(held)
                listing.count(held)
                held.clear()
    listing.count(held)
    listing.directories.sort()
    if total is None:
        held.sort(key=itemgetter(0))  # see `by_name`
        listing.entries, listing.fingerprint = held, _fingerprint(held)
    else:
        listing.entries, listing.fingerprint = None, str(uuid.UUID(int=(total + _sum(held)) % _MODULUS))
    return listing


def stream_directory(path: str, excluded: ExcludedFolders) -> Iterator[DirectoryEntry]:
    """Yield the entries of a directory of any size, without the subdirectories that will be listed.

    Raises:
        OSError: the directory cannot be listed.
    """
    with opened_directory(path) as (_, listed):
        for entry in by_name(listed):
            try:
                if not entry.is_dir(follow_symlinks=False) or excluded.excludes(path, entry.name):
                    yield entry.name, entry.stat(follow_symlinks=False)
            except OSError:
                continue


def by_name(entries: Iterable[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    """Yield entries in the order of their names, sorted in pieces of `MOST_ENTRIES_HELD`.

    A file system may list two copies of a directory in different orders. The order decides which of two files of one
    instance is imported, so it must not depend on the file system.
    """
    rest = iter(entries)
    while piece := list(islice(rest, MOST_ENTRIES_HELD)):
        yield from sorted(piece, key=attrgetter("name"))


def _facts(entries: Iterable[DirectoryEntry]) -> list[str]:
    """Return a string for each entry that changes when the entry does.

    ctime is part of it: a replaced file may have been given the mtime of the old one.
    """
    return [
        f"{name}/{facts.st_size}/{facts.st_mtime_ns}/{facts.st_ctime_ns}"
        if facts.st_mode & _FILE_TYPE == stat.S_IFREG
        else f"{name}//{facts.st_mode}"
        for name, facts in entries
    ]


def _fingerprint(entries: Iterable[DirectoryEntry]) -> str:
    whole = "\0".join(sorted(_facts(entries))).encode("utf-8", "surrogateescape")
    return str(uuid.UUID(bytes=hashlib.blake2b(whole, digest_size=16).digest()))


def _sum(entries: Iterable[DirectoryEntry]) -> int:
    """Add up the hashes of single entries, for directories that are too large to sort. Three times as slow."""
    return sum(
        int.from_bytes(hashlib.blake2b(facts.encode("utf-8", "surrogateescape"), digest_size=16).digest(), "little")
        for facts in _facts(entries)
    )


def entry_path(directory: str, name: str) -> str:
    """Return the path of an entry in a directory."""
    return f"{directory}{name}" if directory == os.sep else f"{directory}{os.sep}{name}"


@contextmanager
def opened_directory(path: str) -> Iterator[tuple[int, Iterator[os.DirEntry[str]]]]:
    """Open a directory with a path of any length, and yield its mtime and its entries.

    Raises:
        OSError: the directory cannot be listed.
    """
    descriptor: int | None = None
    try:
        try:
            modified_ns = os.stat(path).st_mtime_ns
            listing = os.scandir(path)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            descriptor = open_descriptor(path, os.O_RDONLY | os.O_DIRECTORY)
            modified_ns = os.fstat(descriptor).st_mtime_ns
            listing = os.scandir(descriptor)
        with listing:
            yield modified_ns, listing
    finally:
        if descriptor is not None:
            os.close(descriptor)
