"""Look up many files in history at once, by path, size and times, never by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.history.erase_patient import ERASED
from fm_pipeline.dicom.history.rows import bigint
from fm_pipeline.dicom.model import FoundFile, Outcome, SetAside
from fm_pipeline.dicom.paths import path_hash, printable, real_path
from fm_pipeline.dicom.reasons import ARCHIVE

MOST_ASKED_AT_ONCE = 1_000


class HistoryState(Enum):
    """The state of a file by the newest row of its path."""

    NEW = "there is no row"
    CHANGED = "the file has changed since"
    FAILED = "the file is unchanged, and its import failed or Orthanc has lost it: to be tried again"
    DONE = "the file is unchanged and has its outcome"


def look_up_history(cursor: Cursor, met: Sequence[FoundFile | SetAside]) -> list[HistoryState]:
    """Return the state of each entry, in the same order."""
    hashes = [path_hash(each.path) for each in met]
    cursor.execute(
        "SELECT DISTINCT ON (path_hash) path_hash::text, file_size_bytes, modified_ns, changed_ns,"
        # Nothing of an erased patient is tried again by itself.
        " CASE WHEN file_path = %s THEN 'skipped' WHEN missing_since IS NULL THEN status ELSE 'failed' END, reason"
        " FROM fm_pipeline.import_history WHERE path_hash = ANY(%s::uuid[]) ORDER BY path_hash, id DESC",
        [ERASED, hashes],
    )
    rows = {row[0]: row[1:] for row in cursor.fetchall()}
    return [_known(each, rows.get(key)) for each, key in zip(met, hashes, strict=True)]


def _known(
    met: FoundFile | SetAside, row: tuple[int | None, int | None, int | None, str, str | None] | None
) -> HistoryState:
    if row is None:
        return HistoryState.NEW
    size, modified_ns, changed_ns, status, reason = row
    if isinstance(met, SetAside):
        return HistoryState.DONE if (status, reason) == (Outcome.SKIPPED, met.reason) else HistoryState.CHANGED
    if reason == ARCHIVE:
        return HistoryState.CHANGED  # earlier versions did not open archives
    if (size, modified_ns, changed_ns) != (met.size, bigint(met.modified_ns), bigint(met.changed_ns)):
        return HistoryState.CHANGED
    return HistoryState.FAILED if status == Outcome.FAILED else HistoryState.DONE


def directories_to_look_up(cursor: Cursor) -> set[str]:
    """Return directories with a file that has to be tried again although nothing changed on the disk.

    Orthanc has lost the file, or its newest row is `failed`.
    """
    # Only directories leave the server: an Orthanc that lost its database lacks every file of the history.
    cursor.execute(
        "SELECT DISTINCT substring(file_path FROM '^(.*)/') FROM ("
        " SELECT file_path FROM fm_pipeline.import_history WHERE missing_since IS NOT NULL"
        " UNION ALL SELECT file_path FROM fm_pipeline.import_history tried WHERE status = 'failed' AND NOT EXISTS ("
        "  SELECT FROM fm_pipeline.import_history later"
        "  WHERE later.path_hash = tried.path_hash AND later.id > tried.id)) files"
    )
    return {real_path(text) or "/" for (text,) in cursor if text is not None}


@dataclass(frozen=True)
class ReservedFiles:
    """Files that a tick must not put into another job, by their paths.

    Attributes:
        in_active_jobs: of a pending or running job.
        cancelled: of a job that a person has cancelled. They wait until a person resumes it or imports them otherwise:
            until that job or a later one has recorded them.
    """

    in_active_jobs: frozenset[str]
    cancelled: frozenset[str]


def reserved_by_jobs(cursor: Cursor, paths: Sequence[str]) -> ReservedFiles:
    """Return those of these files that are in the list of an unfinished job. The lists of all jobs may be long."""
    by_text = {printable(path): path for path in paths}
    cursor.execute(
        "SELECT file_path, bool_or(j.status <> 'cancelled'), max(j.id) FILTER (WHERE j.status = 'cancelled')"
        " FROM fm_pipeline.import_job_files JOIN fm_pipeline.import_jobs j ON j.id = job_id"
        " WHERE file_path = ANY(%s) AND (j.status IN ('pending', 'running')"
        " OR (j.status = 'cancelled' AND j.cancel_requested_at IS NOT NULL)) GROUP BY file_path",
        [list(by_text)],
    )
    rows = cursor.fetchall()
    cancelled = {path_hash(by_text[text]): (by_text[text], job_id) for text, _, job_id in rows if job_id}
    if cancelled:
        cursor.execute(
            "SELECT path_hash::text, max(job_id) FROM fm_pipeline.import_history WHERE path_hash = ANY(%s::uuid[])"
            " GROUP BY path_hash",
            [list(cancelled)],
        )
        for key, recorded_by in cursor.fetchall():
            if recorded_by >= cancelled[key][1]:
                del cancelled[key]
    return ReservedFiles(
        frozenset(by_text[text] for text, is_active, _ in rows if is_active),
        frozenset(path for path, _ in cancelled.values()),
    )
