"""Compare Orthanc with the ledger after an import, by ids that are computed here.

An Orthanc with a size limit silently deletes its oldest patients while it accepts new ones. Only this check finds that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.history.job_ledger import JobLedger
from fm_pipeline.dicom.history.jobs import read_job
from fm_pipeline.dicom.importer.coordinator import Interrupted
from fm_pipeline.dicom.orthanc.delivery import Delivery

_BATCH = 2000  # instances per query; 6,000 took 0.07 s
_HELD = "status IN ('imported', 'already_there', 'duplicate', 'conflict') AND removed_at IS NULL"


@dataclass(frozen=True)
class Comparison:
    """The result of comparing the instances of a job.

    Attributes:
        missing: not in Orthanc; their rows have `missing_since`, and a resumed job sends them again.
        differing: with another size than the file, or another MD5 if that was requested. Conflicts do not count.
    """

    expected: int
    missing: int
    differing: int


def compare(
    ledger: JobLedger,
    delivery: Delivery,
    *,
    md5: bool = False,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Comparison:
    """Compare every instance of a job with Orthanc, and record which are missing.

    Args:
        md5: also compare the MD5 of each instance; about 2,000 per second.
        on_progress: called with the number of compared instances.

    Raises:
        Interrupted: the job was cancelled.
        Halted, OrthancStop, OrthancUnreachable, DatabaseError: the comparison is incomplete.
    """
    expected = missing = differing = 0
    after = ""
    while rows := _instances(ledger, after):
        after = rows[-1][0]
        ids = [orthanc_id for orthanc_id, _, _ in rows]
        sizes = delivery.ask(lambda orthanc, ids=ids: orthanc.sizes(ids))  # type: ignore[misc]
        gone = [orthanc_id for orthanc_id in ids if orthanc_id not in sizes]
        for orthanc_id, size, hashed in rows:
            if orthanc_id not in sizes or size is None:
                continue
            differs = sizes[orthanc_id] != size
            if md5 and not differs:
                differs = delivery.ask(lambda orthanc, each=orthanc_id: orthanc.md5(each)) != hashed  # type: ignore[misc]
            differing += differs
        _write_down(ledger, ids, gone)
        expected, missing = expected + len(ids), missing + len(gone)
        on_progress(expected)
    comparison = Comparison(expected, missing, differing)
    _count(ledger, comparison)
    return comparison


def _instances(ledger: JobLedger, after: str) -> list[tuple[str, int | None, str | None]]:
    """Return the next instances of the job with size and hash of the file in Orthanc; None for those of a conflict."""
    found: list[tuple[str, int | None, str | None]] = []

    def action(cursor: Cursor) -> None:
        cursor.execute(
            "SELECT orthanc_instance_id, max(file_size_bytes) FILTER (WHERE status <> 'conflict'),"  # noqa: S608
            " max(file_hash) FILTER (WHERE status <> 'conflict') FROM fm_pipeline.import_history"
            f" WHERE job_id = %s AND {_HELD} AND orthanc_instance_id > %s"
            f" GROUP BY orthanc_instance_id ORDER BY orthanc_instance_id LIMIT {_BATCH}",
            (ledger.job_id, after),
        )
        found[:] = cursor.fetchall()

    ledger.run(action)
    return found


def _write_down(ledger: JobLedger, ids: list[str], gone: list[str]) -> None:
    def action(cursor: Cursor) -> None:
        if gone:
            cursor.execute(
                "UPDATE fm_pipeline.import_history SET missing_since = clock_timestamp()"  # noqa: S608
                f" WHERE orthanc_instance_id = ANY(%s) AND missing_since IS NULL AND {_HELD}",
                (gone,),
            )
        cursor.execute(
            # A row stays missing if Orthanc now holds another file of the instance.
            "UPDATE fm_pipeline.import_history back SET missing_since = NULL"
            " WHERE orthanc_instance_id = ANY(%s) AND missing_since IS NOT NULL AND orthanc_instance_id <> ALL(%s)"
            " AND NOT EXISTS (SELECT FROM fm_pipeline.import_history other WHERE other.job_id = %s"
            "  AND other.status = 'conflict' AND other.orthanc_instance_id = back.orthanc_instance_id"
            "  AND other.file_hash = back.file_hash)",
            (ids, gone, ledger.job_id),
        )
        # An archive has to be opened again as long as Orthanc lacks one of its members.
        cursor.execute(
            "UPDATE fm_pipeline.import_history SET missing_since = clock_timestamp() WHERE missing_since IS NULL"
            " AND path_hash IN (SELECT archive_hash FROM fm_pipeline.import_history"
            "  WHERE archive_hash IS NOT NULL AND missing_since IS NOT NULL)"
        )
        cursor.execute(
            "UPDATE fm_pipeline.import_history archive SET missing_since = NULL WHERE missing_since IS NOT NULL"
            " AND orthanc_instance_id IS NULL AND NOT EXISTS (SELECT FROM fm_pipeline.import_history member"
            "  WHERE member.archive_hash = archive.path_hash AND member.missing_since IS NOT NULL)"
        )
        job = read_job(cursor, ledger.job_id)
        if job.cancel_requested_at is not None or job.status != "running":
            raise Interrupted

    ledger.run(action)


def _count(ledger: JobLedger, comparison: Comparison) -> None:
    def action(cursor: Cursor) -> None:
        cursor.execute(
            "UPDATE fm_pipeline.import_jobs SET instances_expected = %s, instances_missing = %s,"
            " instances_differing = %s, compared_at = clock_timestamp() WHERE id = %s",
            (comparison.expected, comparison.missing, comparison.differing, ledger.job_id),
        )

    ledger.run(action)
