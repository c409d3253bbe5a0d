"""One directory as it is now, and its fingerprint: whether anything in it has changed since it was looked at.

This is the loop that every file of a hospital goes through every night, so it does as little as possible for each.
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
from fm_pipeline.dicom.scan.excluded_folders import KNOWN, ExcludedFolders

DirectoryEntry = tuple[str, os.stat_result]

# So many entries are held in memory; a larger directory is read a second time, piece by piece, if it has changed.
MOST_ENTRIES_HELD = 10_000
_FILE_TYPE = 0o170000
_MODULUS = 1 << 128


@dataclass(slots=True)
class Listing:
    """A directory.

    Attributes:
        modified_ns: its mtime, read before its entries.
        files, size: of its regular files, and their bytes.
        others: links, pipes, excluded folders and the like.
        directories: paths of those in it that are to be listed.
        entries: everything else, name and facts; None if there are more than are held.
        unreadable: entries that could not be asked.
        fingerprint: a uuid; two listings with the same one have the same entries (directories do not count).
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


def list_directory(path: str, excluded: ExcludedFolders = KNOWN) -> Listing:
    """List a directory without following a link. An excluded folder is an entry of it, as a link is.

    Raises:
        OSError: it cannot be listed.
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


def stream_directory(path: str, excluded: ExcludedFolders = KNOWN) -> Iterator[DirectoryEntry]:
    """The entries of a directory of any size that are no directories to be listed, one after the other.

    Raises:
        OSError: it cannot be listed.
    """
    with opened_directory(path) as (_, listed):
        for entry in by_name(listed):
            try:
                if not entry.is_dir(follow_symlinks=False) or excluded.excludes(path, entry.name):
                    yield entry.name, entry.stat(follow_symlinks=False)
            except OSError:
                continue


def by_name(entries: Iterable[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    """Entries in the order of their names, in a directory of any size: in pieces of `MOST_ENTRIES_HELD`.

    How a file system lists a directory differs between two copies of it, and which of two files of one instance is
    imported must not.
    """
    rest = iter(entries)
    while piece := list(islice(rest, MOST_ENTRIES_HELD)):
        yield from sorted(piece, key=attrgetter("name"))


def _facts(entries: Iterable[DirectoryEntry]) -> list[str]:
    """What changes when an entry does. ctime too: a file may be replaced by one that was given its mtime."""
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
    """For directories that are too large to be sorted: of each entry by itself, three times as slow."""
    return sum(
        int.from_bytes(hashlib.blake2b(facts.encode("utf-8", "surrogateescape"), digest_size=16).digest(), "little")
        for facts in _facts(entries)
    )


def entry_path(directory: str, name: str) -> str:
    """The path of something in a directory."""
    return f"{directory}{name}" if directory == os.sep else f"{directory}{os.sep}{name}"


@contextmanager
def opened_directory(path: str) -> Iterator[tuple[int, Iterator[os.DirEntry[str]]]]:
    """A directory's mtime and entries, also where its path is longer than the system takes at once.

    Raises:
        OSError: it cannot be listed.
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
