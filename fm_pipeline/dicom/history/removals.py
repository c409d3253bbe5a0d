"""What a job brought into Orthanc, and the record of its removal.

A job brought an instance if it stored it, no other job met it (before or after), and it was not there already. Then no
other import relies on it. A later job that found it by reading the same file again, with the same path and bytes, does
not count if the job is incremental or has stored nothing: else a person may have started it to import the directory,
as after a cancelled job. Rows of history stay, with `removed_at`: the sensor and incremental imports do not bring the
instance back, not even from another path. A new job of another type does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

# A row of another job that is not only a later reading of a file of this one.
_ANOTHER = """
    other.job_id <> %(job_id)s AND other.removed_at IS NULL AND NOT (other.status <> 'imported' AND EXISTS (
        SELECT FROM fm_pipeline.import_history own WHERE own.job_id = %(job_id)s AND own.path_hash = other.path_hash
        AND own.file_hash = other.file_hash AND own.id < other.id) AND EXISTS (
        SELECT FROM fm_pipeline.import_jobs job WHERE job.id = other.job_id
        AND (job.job_type = 'incremental' OR job.files_imported = 0)))
"""
_MET = "('imported', 'already_there', 'duplicate', 'conflict')"
# OFFSET makes PostgreSQL look up each instance. Else it reads the rows of all jobs for each part of a removal.
_MET_BY_ANOTHER_JOB = f"""
    EXISTS (SELECT FROM fm_pipeline.import_history other WHERE other.orthanc_instance_id = mine.orthanc_instance_id
            AND other.status IN {_MET} AND {_ANOTHER} OFFSET 0)
"""
_THERE_BEFORE = """
    EXISTS (SELECT FROM fm_pipeline.import_history again WHERE again.orthanc_instance_id = mine.orthanc_instance_id
            AND again.status IN ('imported', 'already_there') AND again.job_id = mine.job_id
            AND again.status = 'already_there')
"""
_STORED = """
    FROM fm_pipeline.import_history mine WHERE mine.job_id = %(job_id)s AND mine.status = 'imported'
    AND mine.removed_at IS NULL AND mine.orthanc_instance_id IS NOT NULL
"""

_INSTANCES_LOOKED_AT = 1000  # to name the other jobs; a page asks it every few seconds


@dataclass(frozen=True)
class RemovableInstances:
    """What a removal of a job would do.

    Attributes:
        removable: instances that the job brought.
        size_bytes: of their files.
        met_by_others: kept, because another job met them too.
        there_before: kept, because the job found them there: it may have been interrupted after it had stored them.
    """

    removable: int
    size_bytes: int
    met_by_others: int
    there_before: int


@dataclass(frozen=True)
class Takeback:
    """Whether an import can be taken back.

    Attributes:
        removable: a removal would delete something.
        stays: it would not, and the job stored instances that were not taken back.
        found_again_by: see the function of this name; empty if they stay for another reason.
    """

    removable: bool = False
    stays: bool = False
    found_again_by: Sequence[int] = ()


@dataclass(frozen=True)
class Removal:
    """A row of `fm_pipeline.import_removals`."""

    id: int
    job_id: int
    run_id: str | None
    requested_by: str
    instances_planned: int
    instances_deleted: int
    instances_absent: int
    instances_kept: int
    started_at: datetime
    completed_at: datetime | None

    @property
    def done(self) -> int:
        """Instances that were looked at."""
        return self.instances_deleted + self.instances_absent + self.instances_kept


_COLUMNS = ", ".join(field.name for field in fields(Removal))


@dataclass(frozen=True)
class BroughtInstance:
    """An instance that a job brought: Orthanc's id, and the MD5 of the file that was sent."""

    orthanc_id: str
    md5: str | None


def count_removable(cursor: Cursor, job_id: int) -> RemovableInstances:
    """Count what a removal would delete and keep."""
    cursor.execute(
        f"SELECT count(*) FILTER (WHERE NOT others AND NOT before),"  # noqa: S608  # our own SQL
        " coalesce(sum(size) FILTER (WHERE NOT others AND NOT before), 0)::bigint,"
        " count(*) FILTER (WHERE others), count(*) FILTER (WHERE before AND NOT others) FROM ("
        f" SELECT DISTINCT ON (orthanc_instance_id) file_size_bytes AS size, {_MET_BY_ANOTHER_JOB} AS others,"
        f" {_THERE_BEFORE} AS before {_STORED} ORDER BY orthanc_instance_id) counted",
        {"job_id": job_id},
    )
    return RemovableInstances(*cursor.fetchall()[0])


def read_takeback(cursor: Cursor, job_id: int) -> Takeback:
    """Return whether a removal would delete anything, and else why not. It reads until the first instance, not all."""
    its = {"job_id": job_id}
    cursor.execute(
        f"SELECT EXISTS (SELECT {_STORED} AND NOT {_MET_BY_ANOTHER_JOB} AND NOT {_THERE_BEFORE})",
        its,
    )
    if cursor.fetchone() == (True,):
        return Takeback(removable=True)
    cursor.execute(f"SELECT EXISTS (SELECT {_STORED})", its)
    stays = cursor.fetchone() == (True,)
    return Takeback(stays=stays, found_again_by=found_again_by(cursor, job_id) if stays else ())


def found_again_by(cursor: Cursor, job_id: int) -> list[int]:
    """Return the jobs that found instances of a job too, and for which they stay: some of them, the newest first."""
    cursor.execute(
        f"WITH mine AS (SELECT orthanc_instance_id {_STORED} LIMIT %(instances)s)"  # noqa: S608  # our own SQL
        " SELECT DISTINCT job_id FROM (SELECT other.job_id FROM mine"
        " JOIN fm_pipeline.import_history other USING (orthanc_instance_id)"
        f" WHERE other.status IN {_MET} AND {_ANOTHER} LIMIT %(instances)s) again ORDER BY job_id DESC LIMIT 5",
        {"job_id": job_id, "instances": _INSTANCES_LOOKED_AT},
    )
    return [int(other) for (other,) in cursor.fetchall()]


def next_removable(cursor: Cursor, job_id: int, after: str, limit: int) -> list[BroughtInstance]:
    """Return the next removable instances in the order of their ids."""
    cursor.execute(
        f"SELECT DISTINCT ON (orthanc_instance_id) orthanc_instance_id, file_hash {_STORED}"
        f" AND mine.orthanc_instance_id > %(after)s AND NOT {_MET_BY_ANOTHER_JOB} AND NOT {_THERE_BEFORE}"
        " ORDER BY orthanc_instance_id LIMIT %(limit)s",
        {"job_id": job_id, "after": after, "limit": limit},
    )
    return [BroughtInstance(*row) for row in cursor.fetchall()]


def new_removal_id(cursor: Cursor) -> int:
    """Return the id for the record of a removal."""
    cursor.execute("SELECT nextval(pg_get_serial_sequence('fm_pipeline.import_removals', 'id'))")
    return int(cursor.fetchall()[0][0])


def begin_removal(
    cursor: Cursor, removal_id: int, job_id: int, *, planned: int, requested_by: str, run_id: str | None
) -> Removal:
    """Add the record of a removal. Idempotent.

    Args:
        removal_id: from `new_removal_id`.
    """
    cursor.execute(
        "INSERT INTO fm_pipeline.import_removals (id, job_id, run_id, requested_by, instances_planned)"
        " OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING",
        (removal_id, job_id, run_id, requested_by, planned),
    )
    cursor.execute(f"SELECT {_COLUMNS} FROM fm_pipeline.import_removals WHERE id = %s", (removal_id,))  # noqa: S608
    return Removal(*cursor.fetchall()[0])


def record_removed(cursor: Cursor, removal: Removal, gone: Collection[str]) -> None:
    """Record instances that are not in Orthanc any more, in the rows of all files that had them. Idempotent.

    Rows of other jobs are of later readings of the same files, or the instances would have stayed.

    Args:
        removal: with its new counts.
        gone: Orthanc's ids.
    """
    cursor.execute(
        "UPDATE fm_pipeline.import_history SET removed_at = clock_timestamp(), removal_id = %(id)s,"  # noqa: S608
        " missing_since = NULL WHERE orthanc_instance_id = ANY(%(gone)s) AND removed_at IS NULL"
        f" AND (job_id = %(job_id)s OR status IN {_MET})",
        {"id": removal.id, "job_id": removal.job_id, "gone": list(gone)},
    )
    cursor.execute(
        "UPDATE fm_pipeline.import_removals SET instances_deleted = %s, instances_absent = %s, instances_kept = %s"
        " WHERE id = %s",
        (removal.instances_deleted, removal.instances_absent, removal.instances_kept, removal.id),
    )


def end_removal(cursor: Cursor, removal: Removal) -> Removal:
    """Record the end, forget the persons of whom nothing is left, and return the row."""
    _forget_persons(cursor, removal.job_id)
    cursor.execute(
        f"UPDATE fm_pipeline.import_removals SET completed_at = clock_timestamp() WHERE id = %s RETURNING {_COLUMNS}",  # noqa: S608
        (removal.id,),
    )
    return Removal(*cursor.fetchall()[0])


def _forget_persons(cursor: Cursor, job_id: int) -> None:
    """Forget who has the Patient IDs of which nothing is left. Of the others nobody knows which person is wrong."""
    cursor.execute(
        "SELECT DISTINCT patient_id FROM fm_pipeline.import_history WHERE patient_id IS NOT NULL AND removal_id IN"
        " (SELECT id FROM fm_pipeline.import_removals WHERE job_id = %s)",  # earlier ones may have been interrupted
        (job_id,),
    )
    gone = {patient_id for (patient_id,) in cursor.fetchall()}
    cursor.execute(  # it reads the history once: Patient IDs have no index
        "SELECT DISTINCT patient_id FROM fm_pipeline.import_history WHERE patient_id = ANY(%s)"
        " AND status IN ('imported', 'already_there') AND removed_at IS NULL",
        (list(gone),),
    )
    gone -= {patient_id for (patient_id,) in cursor.fetchall()}
    cursor.execute("DELETE FROM fm_pipeline.import_patients WHERE patient_id = ANY(%s)", (list(gone),))


def list_removals(cursor: Cursor, job_id: int) -> Sequence[Removal]:
    """Return the removals of a job, newest first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM fm_pipeline.import_removals WHERE job_id = %s ORDER BY id DESC",  # noqa: S608
        (job_id,),
    )
    return [Removal(*row) for row in cursor.fetchall()]


def taken_back(cursor: Cursor, job_ids: Collection[int]) -> dict[int, int]:
    """Return how many instances of each of these jobs are not in Orthanc any more because a removal took them back."""
    cursor.execute(
        "SELECT job_id, sum(instances_deleted + instances_absent)::integer FROM fm_pipeline.import_removals"
        " WHERE job_id = ANY(%s) GROUP BY 1",
        (list(job_ids),),
    )
    return dict(cursor.fetchall())


EXPORTED = (
    "orthanc_instance_id",
    "file_path",
    "file_hash",
    "patient_id",
    "study_uid",
    "series_uid",
    "instance_uid",
    "modality",
    "removed_at",
)


def export_instances(connection: Connection, job_id: int) -> Iterator[tuple[object, ...]]:
    """Yield what a job brought and what of it was removed, one row for each instance, with the columns `EXPORTED`.

    The rows name patients. They are read with a cursor of the server, so a million of them need no memory.
    """
    columns = ", ".join(EXPORTED)
    brought = f"mine.removed_at IS NULL AND NOT {_MET_BY_ANOTHER_JOB} AND NOT {_THERE_BEFORE}"
    with connection.cursor(name="removable_instances") as cursor:
        cursor.execute(
            f"SELECT DISTINCT ON (orthanc_instance_id) {columns} FROM fm_pipeline.import_history mine"  # noqa: S608
            " WHERE mine.job_id = %(job_id)s AND mine.status = 'imported' AND mine.orthanc_instance_id IS NOT NULL"
            f" AND (mine.removal_id IS NOT NULL OR ({brought})) ORDER BY orthanc_instance_id",
            {"job_id": job_id},
        )
        yield from cursor
