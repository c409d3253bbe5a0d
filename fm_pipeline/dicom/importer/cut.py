"""Create a job that several processes share: list the directory once, and cut the list into chunks.

Job and chunks are written in one transaction after the listing, so a listing that fails or is interrupted leaves
nothing behind. Until then the list is in the spool, an unlinked temporary file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.choices import JobType
from fm_pipeline.dicom.errors import RootUnavailable
from fm_pipeline.dicom.history.chunks import insert_chunks
from fm_pipeline.dicom.history.job_ledger import insert_unreadable
from fm_pipeline.dicom.history.jobs import Job, create_job
from fm_pipeline.dicom.model import FoundFile, Unreadable
from fm_pipeline.dicom.reasons import STOPPED
from fm_pipeline.dicom.scan.excluded_folders import ExcludedFolders
from fm_pipeline.dicom.scan.spool import Spool
from fm_pipeline.dicom.scan.walk import Met, scan
from fm_pipeline.dicom.watch.new_files import NewFiles

# One process imports several hundred files a second, or about 100 MB. So a chunk takes a minute or more, and little is
# repeated when its host dies.
CHUNK_FILES = 30_000
CHUNK_BYTES = 8_000_000_000
# A chunk ends with a directory where it can. For that it may grow to this many times its size.
_LONGEST = 2
_TAKE_SECONDS = 1.0


@dataclass
class _Listing:
    """The list of a directory, in a spool."""

    spool: Spool
    unreadable: list[Unreadable] = field(default_factory=list)
    unchanged: int = 0

    def fill(self, met: Iterable[Met]) -> None:
        for each in met:
            if isinstance(each, Unreadable) and each.is_directory:
                if each.reason in {"root_empty", "not_mounted"}:
                    raise RootUnavailable(STOPPED["no_files" if each.reason == "root_empty" else "root_unavailable"])
                self.unreadable.append(each)
                continue
            self.spool.put(each)

    def entries(self) -> Iterator[Met]:
        while (taken := self.spool.take(_TAKE_SECONDS)) is not None:
            yield from taken


def create_shared_job(
    database_url: str,
    source_path: str,
    job_type: JobType,
    *,
    requested_by: str,
    excluded: ExcludedFolders,
    chunk_files: int = CHUNK_FILES,
) -> Job:
    """List a directory and create a job in chunks for it. An incremental job has only files that history does not know.

    Args:
        source_path: absolute and already checked (`paths.allowed`).
        chunk_files: after so many, or CHUNK_BYTES, a chunk goes on to the end of the directory, but not beyond twice
            as much.

    Raises:
        RootUnavailable: the directory cannot be listed, or is empty.
        DatabaseError: nothing was written.
    """
    with _spool() as spool:
        listing = _Listing(spool)
        if job_type == "incremental":
            with ReconnectingConnection(database_url) as scanning:
                new = NewFiles(scanning, source_path, now=datetime.now(UTC), excluded=excluded)
                listing.fill(new)
                listing.unchanged = new.unchanged
        else:
            listing.fill(scan(source_path, excluded))
        spool.end()
        if not spool.files and not listing.unchanged:
            raise RootUnavailable(STOPPED["no_files"])

        def write(cursor: Cursor, job_id: int) -> None:
            insert_chunks(cursor, job_id, cut(listing.entries(), chunk_files, CHUNK_BYTES))
            insert_unreadable(cursor, job_id, listing.unreadable)
            cursor.execute(
                "UPDATE fm_pipeline.import_jobs SET files_unchanged = %s WHERE id = %s", (listing.unchanged, job_id)
            )

        return create_job(
            database_url,
            source_path,
            job_type,
            requested_by=requested_by,
            total=(spool.files, spool.size_bytes),
            more=write,
        )


@contextmanager
def _spool() -> Iterator[Spool]:
    spool = Spool()
    try:
        yield spool
    finally:
        spool.end()
        spool.close()


def cut(entries: Iterable[Met], chunk_files: int, chunk_bytes: int) -> Iterator[tuple[list[str], int]]:
    """Cut entries into chunks.

    Args:
        entries: in the order of the scan, directory by directory.

    Returns:
        The paths of each chunk, and its bytes.
    """
    paths: list[str] = []
    size = 0
    directory = ""
    for each in entries:
        longest = len(paths) >= _LONGEST * chunk_files or size >= _LONGEST * chunk_bytes
        long_enough = len(paths) >= chunk_files or size >= chunk_bytes
        here = os.path.dirname(each.path)
        if paths and (longest or (long_enough and here != directory)):
            yield paths, size
            paths, size = [], 0
        paths.append(each.path)
        size += each.size if isinstance(each, FoundFile) else 0
        directory = here
    if paths:
        yield paths, size
