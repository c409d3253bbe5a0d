"""The history of all files: pages with statistics, and removal of old rows.

docs/dicom.md maps the columns to the hospital's own system. Rows name files and patients: show them on request, and
never log them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import count
from fm_pipeline.dicom.choices import LONGEST_HISTORY_PAGE
from fm_pipeline.dicom.history.jobs import paging, where_sql
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.errors import RequestError


@dataclass(frozen=True)
class HistoryRow:
    """The outcome of one file in one job.

    Attributes:
        file_path, file_name: as `paths.printable` writes them.
        file_hash: MD5; None if the file was not read.
        status: an `Outcome`.
        reason: an id of `reasons`; None where the outcome needs none.
        flags: ids of `reasons.FLAGS`.
        other_hash: in a conflict, the MD5 of the file that Orthanc holds and keeps.
        missing_since: when the instance was found to be missing in Orthanc.
        removed_at: when the instance was deleted in Orthanc, since the import was a mistake.
    """

    id: int
    job_id: int
    job_type: str
    job_source_path: str
    file_path: str
    file_name: str
    file_size_bytes: int | None
    file_hash: str | None
    orthanc_instance_id: str | None
    orthanc_patient_id: str | None
    orthanc_study_id: str | None
    orthanc_series_id: str | None
    patient_id: str | None
    study_uid: str | None
    series_uid: str | None
    instance_uid: str | None
    sop_class_uid: str | None
    transfer_syntax_uid: str | None
    modality: str | None
    study_month: str | None
    status: str
    reason: str | None
    error_message: str | None
    flags: list[str]
    other_hash: str | None
    sends: int
    missing_since: datetime | None
    removed_at: datetime | None
    imported_at: datetime


_OF_JOB = {"job_type": "j.job_type", "job_source_path": "j.source_path"}
_COLUMNS = ", ".join(_OF_JOB.get(field.name, f"h.{field.name}") for field in fields(HistoryRow))


@dataclass(frozen=True)
class Statistics:
    """Counts of the requested job, or of all jobs. A file counts once per job, also if its row was pruned since."""

    outcomes: dict[Outcome, int]
    total_size_bytes: int

    @property
    def total(self) -> int:
        """The number of files."""
        return sum(self.outcomes.values())


@dataclass(frozen=True)
class HistoryPage:
    """A page of rows, newest first.

    Attributes:
        total: of files that the filters leave; as in `Statistics`, unless `reason` or `flag` is one of them.
        has_more: whether more rows follow.
    """

    history: Sequence[HistoryRow]
    total: int
    limit: int
    offset: int
    statistics: Statistics
    has_more: bool


def list_history(
    database_url: str,
    *,
    limit: int = 50,
    offset: int = 0,
    job_id: int | None = None,
    status: str | None = None,
    reason: str | None = None,
    flag: str | None = None,
    outcomes: Collection[Outcome] | None = None,
) -> HistoryPage:
    """Return a page of history, newest rows first.

    Args:
        limit: 1 to 1,000.
        status: an `Outcome`.
        reason: an id of `reasons`.
        flag: an id of `reasons.FLAGS`.
        outcomes: instead of `status`, any of these.

    Raises:
        RequestError: an argument is invalid.
    """
    paging(limit, offset, LONGEST_HISTORY_PAGE)
    if status is not None and status not in set(Outcome):
        raise RequestError(f"There is no status {status!r}.", remedy=f"Give one of: {', '.join(Outcome)}.")
    given = {"job_id": job_id, "status": status, "reason": reason}
    filters: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    any_of = {} if outcomes is None else {"status": [str(outcome) for outcome in outcomes]}
    with_flag = {} if flag is None else {"flags": flag}
    values = {**filters, **any_of, **with_flag}
    with connect(database_url) as connection, connection.cursor() as cursor:
        statistics = _read_statistics(cursor, job_id)
        where = where_sql(filters, "h.", any_of=any_of, containing=with_flag)
        cursor.execute(
            f"SELECT {_COLUMNS} FROM fm_pipeline.import_history h JOIN fm_pipeline.import_jobs j ON j.id = h.job_id"  # noqa: S608
            f" {where} ORDER BY h.id DESC LIMIT {limit + 1} OFFSET {offset}",
            values,
        )
        rows = [HistoryRow(*row) for row in cursor.fetchall()]
        if reason is None and flag is None:
            wanted = {Outcome(status)} if status is not None else set(Outcome if outcomes is None else outcomes)
            total = sum(statistics.outcomes[outcome] for outcome in wanted)
        else:
            where = where_sql(filters, any_of=any_of, containing=with_flag)
            cursor.execute(f"SELECT count(*) FROM fm_pipeline.import_history {where}", values)  # noqa: S608
            total = count(cursor)
    return HistoryPage(rows[:limit], total, limit, offset, statistics, has_more=len(rows) > limit)


def _read_statistics(cursor: Cursor, job_id: int | None) -> Statistics:
    """Add up what the jobs have counted: the history of all jobs has millions of rows."""
    sums = ", ".join(f"coalesce(sum(files_{outcome}), 0)::bigint" for outcome in Outcome)
    of_job = "" if job_id is None else "WHERE id = %(job_id)s"
    cursor.execute(
        f"SELECT coalesce(sum(size_processed_bytes), 0)::bigint, {sums} FROM fm_pipeline.import_jobs {of_job}",  # noqa: S608  # names of ours
        {"job_id": job_id},
    )
    ((size, *counts),) = cursor.fetchall()
    return Statistics(dict(zip(Outcome, counts, strict=True)), size)


def count_flags(cursor: Cursor, job_id: int) -> dict[str, int]:
    """Count the rows of a job by flag, the most frequent first."""
    cursor.execute(
        "SELECT flag, count(*) FROM fm_pipeline.import_history, unnest(flags) flag WHERE job_id = %s"
        " GROUP BY 1 ORDER BY 2 DESC, 1",
        (job_id,),
    )
    return dict(cursor.fetchall())


EXPORTED_HISTORY = (
    "id",
    "imported_at",
    "status",
    "reason",
    "file_path",
    "file_size_bytes",
    "file_hash",
    "patient_id",
    "study_uid",
    "series_uid",
    "instance_uid",
    "modality",
    "orthanc_instance_id",
    "missing_since",
    "removed_at",
)


def export_history(connection: Connection, job_id: int) -> Iterator[tuple[object, ...]]:
    """Yield the files of a job with the columns `EXPORTED_HISTORY`, in the order in which they were recorded.

    The rows name patients. They are read with a cursor of the server, so a million of them need no memory.
    """
    columns = ", ".join(EXPORTED_HISTORY)
    with connection.cursor(name="history_of_a_job") as cursor:
        cursor.execute(
            f"SELECT {columns} FROM fm_pipeline.import_history WHERE job_id = %s ORDER BY id",  # noqa: S608  # our names
            (job_id,),
        )
        yield from cursor


def prune_history(database_url: str, older_than: datetime, *, dry_run: bool = True) -> int:
    """Delete old rows that a newer row makes redundant.

    The newest row of each file always stays, so that an unchanged file is recognised. An older row is deleted only if
    the newer one has the same content hash, so that every imported content is still recognised. Rows of pending and
    running jobs stay.

    Args:
        older_than: only rows from before this time are deleted.
        dry_run: only count them.

    Returns:
        The number of rows that were, or would be, deleted.
    """
    predicate = """
        FROM fm_pipeline.import_history old
        WHERE old.imported_at < %(older_than)s
          AND EXISTS (SELECT FROM fm_pipeline.import_jobs j WHERE j.id = old.job_id
                      AND j.status NOT IN ('pending', 'running'))
          AND EXISTS (SELECT FROM fm_pipeline.import_history newer
                      WHERE newer.path_hash = old.path_hash AND newer.id > old.id
                        AND (newer.file_hash = old.file_hash
                             AND (newer.status IN ('imported', 'already_there')
                                  OR old.status NOT IN ('imported', 'already_there'))
                             OR old.file_hash IS NULL))
    """
    statement = f"SELECT count(*) {predicate}" if dry_run else f"DELETE {predicate}"
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, {"older_than": older_than})
        count = int(cursor.fetchall()[0][0]) if dry_run else cursor.rowcount
        connection.commit()
        return count
