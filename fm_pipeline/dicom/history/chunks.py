"""The chunks of an import job that several processes share: created once, then claimed one by one.

A claim has a number, `fence`. A process that was silent for too long (its host died, it was suspended, or it lost its
network) loses its chunk to another one, which gets a higher number. `chunk_ledger` refuses every write under an older
number. All times are those of the database, because the clocks of hosts differ.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.paths import printable
from fm_pipeline.errors import LockStop

HEARTBEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0  # six heartbeats: above a restart of PostgreSQL, far below the time of a chunk


@dataclass(frozen=True)
class Chunk:
    """A claimed chunk.

    Attributes:
        number: in the order of the scan.
        fence: the number of the claim.
        closing: the last chunk. It has no files, and compares Orthanc with the history.
    """

    job_id: int
    number: int
    fence: int
    closing: bool

    @property
    def key(self) -> tuple[int, int, int]:
        """Job, number and fence."""
        return self.job_id, self.number, self.fence


@dataclass(frozen=True)
class ChunkCounts:
    """How many chunks of a job are done, claimed by a living process, and free to be claimed; without the last one."""

    done: int
    claimed: int
    free: int

    @property
    def total(self) -> int:
        """The number of chunks."""
        return self.done + self.claimed + self.free


class ClaimLost(LockStop):
    """Another process has taken the chunk over. Nothing was written under the old claim."""

    def __init__(self, chunk: Chunk) -> None:
        super().__init__(
            f"Chunk {chunk.number} of import job {chunk.job_id} was taken over by another process, because this one was"
            " silent for too long.",
            meaning="This process wrote nothing more about this chunk. The other process carries it out.",
            remedy="Check whether this host was suspended, or lost its network to the database.",
        )


def this_process() -> str:
    """Return the name of this process for `holder`: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def insert_chunks(cursor: Cursor, job_id: int, chunks: Iterable[tuple[Sequence[str], int]]) -> tuple[int, int, int]:
    """Insert the chunks of a job and the closing one.

    Args:
        chunks: the paths of each chunk as a scan yields them, and their bytes.

    Returns:
        The number of chunks without the closing one, of files, and of bytes.
    """
    number = files = size = 0
    for paths, chunk_bytes in chunks:
        number, files, size = number + 1, files + len(paths), size + chunk_bytes
        cursor.execute(
            "INSERT INTO fm_pipeline.import_chunks (job_id, number, files, size_bytes, paths)"
            " VALUES (%s, %s, %s, %s, %s)",
            (job_id, number, len(paths), chunk_bytes, [printable(path) for path in paths]),
        )
    cursor.execute(
        "INSERT INTO fm_pipeline.import_chunks (job_id, number, closing, files, size_bytes)"
        " VALUES (%s, %s, true, 0, 0)",
        (job_id, number + 1),
    )
    return number, files, size


def in_chunks(database_url: str, job_id: int) -> bool:
    """Return whether several processes can share the job."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM fm_pipeline.import_chunks WHERE job_id = %s)", (job_id,))
        return cursor.fetchone() == (True,)


def reopen_chunks(cursor: Cursor, job_id: int) -> None:
    """Reopen the chunks of a job that is resumed after the last of them.

    Files that failed, or that Orthanc has lost, are then imported again; the others are found in the history.
    """
    cursor.execute(
        "UPDATE fm_pipeline.import_chunks SET done_at = NULL, holder = NULL WHERE job_id = %(id)s AND NOT EXISTS"
        " (SELECT FROM fm_pipeline.import_chunks WHERE job_id = %(id)s AND NOT closing AND done_at IS NULL)",
        {"id": job_id},
    )


# A chunk that can be claimed. The closing one is claimed when all others are done.
_FREE = """
    c.done_at IS NULL
    AND (c.holder IS NULL OR c.heartbeat_at < clock_timestamp() - make_interval(secs => %(silent)s))
    AND (NOT c.closing OR NOT EXISTS (SELECT FROM fm_pipeline.import_chunks other
                                      WHERE other.job_id = c.job_id AND NOT other.closing AND other.done_at IS NULL))
"""


def claim_chunk(
    cursor: Cursor, job_id: int, *, number: int | None = None, silent_seconds: float = SILENT_SECONDS
) -> Chunk | None:
    """Claim the next chunk of a running job, or one whose holder is silent.

    Args:
        number: only this chunk.
        silent_seconds: after this time without a heartbeat a holder counts as lost.

    Returns:
        The chunk; None if none is free, if the job does not run, or if its cancellation was requested.
    """
    cursor.execute(
        "UPDATE fm_pipeline.import_chunks SET fence = fence + 1, holder = %(holder)s,"  # noqa: S608  # ours
        " claimed_at = clock_timestamp(), heartbeat_at = clock_timestamp() WHERE (job_id, number) = ("
        "  SELECT c.job_id, c.number FROM fm_pipeline.import_chunks c JOIN fm_pipeline.import_jobs j ON j.id = c.job_id"
        "  WHERE j.id = %(job_id)s AND j.status = 'running' AND j.cancel_requested_at IS NULL"
        f"  AND (%(number)s::integer IS NULL OR c.number = %(number)s) AND {_FREE}"
        "  ORDER BY c.number LIMIT 1 FOR UPDATE OF c SKIP LOCKED)"
        " RETURNING job_id, number, fence, closing",
        {"job_id": job_id, "number": number, "holder": this_process(), "silent": silent_seconds},
    )
    row = cursor.fetchone()
    return Chunk(*row) if row else None


def beat(cursor: Cursor, chunk: Chunk) -> bool:
    """Record that the holder of a chunk lives. Return False if it has lost the chunk, or the chunk is done."""
    cursor.execute(
        "UPDATE fm_pipeline.import_chunks SET heartbeat_at = clock_timestamp()"
        " WHERE job_id = %s AND number = %s AND fence = %s AND holder IS NOT NULL",
        chunk.key,
    )
    return bool(cursor.rowcount)


def others_live(cursor: Cursor, job_id: int, *, silent_seconds: float = SILENT_SECONDS) -> bool:
    """Return whether a living process holds a chunk of the job."""
    return chunk_counts(cursor, job_id, silent_seconds=silent_seconds, closing=True).claimed > 0


def chunk_counts(
    cursor: Cursor, job_id: int, *, silent_seconds: float = SILENT_SECONDS, closing: bool = False
) -> ChunkCounts:
    """Count the chunks of a job.

    Args:
        closing: count the closing chunk too.
    """
    cursor.execute(
        "SELECT count(*) FILTER (WHERE done_at IS NOT NULL),"
        " count(*) FILTER (WHERE done_at IS NULL AND held), count(*) FILTER (WHERE done_at IS NULL AND NOT held)"
        " FROM (SELECT done_at, closing, holder IS NOT NULL"
        "  AND heartbeat_at >= clock_timestamp() - make_interval(secs => %s) AS held"
        "  FROM fm_pipeline.import_chunks WHERE job_id = %s) chunks WHERE NOT closing OR %s",
        (silent_seconds, job_id, closing),
    )
    (counts,) = cursor.fetchall()
    return ChunkCounts(*counts)


def free_chunks(cursor: Cursor, *, closing: bool, limit: int) -> Iterator[tuple[int, int]]:
    """Yield job and number of chunks that can be claimed, of jobs that Dagster has started, oldest first.

    Args:
        closing: the closing chunks, or all others.
    """
    cursor.execute(
        "SELECT c.job_id, c.number FROM fm_pipeline.import_chunks c"  # noqa: S608  # ours
        " JOIN fm_pipeline.import_jobs j ON j.id = c.job_id"
        " WHERE j.status = 'running' AND j.run_id IS NOT NULL AND j.cancel_requested_at IS NULL"
        f" AND c.closing = %(closing)s AND {_FREE}"
        " ORDER BY c.job_id, c.number LIMIT %(limit)s",
        {"silent": SILENT_SECONDS, "limit": limit, "closing": closing},
    )
    yield from cursor.fetchall()
