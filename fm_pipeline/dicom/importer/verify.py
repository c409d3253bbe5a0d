"""After an import: does Orthanc hold what the ledger says? By ids that are computed on our side.

An Orthanc with a size limit deletes its oldest patients silently while it says yes to the new ones; only this finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.history.job_ledger import JobLedger
from fm_pipeline.dicom.history.jobs import read_job
from fm_pipeline.dicom.importer.coordinator import Interrupted
from fm_pipeline.dicom.orthanc.delivery import Delivery

_BATCH = 2000  # instances asked for at once; 6,000 took 0.07 s
_HELD = "status IN ('imported', 'already_there', 'duplicate', 'conflict')"


@dataclass(frozen=True)
class Comparison:
    """Of the instances of a job.

    Attributes:
        missing: Orthanc does not have them; their rows have `missing_since`, and a resumed job sends them again.
        differing: of another size than the file, or of another MD5 where that was asked for. Conflicts are none.
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
    """Compare every instance of a job with what Orthanc holds, and write down what is missing.

    Args:
        md5: ask Orthanc for the MD5 of each instance too; some 2,000 a second.
        on_progress: told how many instances have been compared.

    Raises:
        Interrupted: somebody has asked for the end of the job.
        Halted, OrthancStop, OrthancUnreachable, DatabaseError: it was not finished.
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
    """The next instances of the job, each once; size and hash of the file that Orthanc has, None of a conflict's."""
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
            # What came in its place is not it.
            "UPDATE fm_pipeline.import_history back SET missing_since = NULL"
            " WHERE orthanc_instance_id = ANY(%s) AND missing_since IS NOT NULL AND orthanc_instance_id <> ALL(%s)"
            " AND NOT EXISTS (SELECT FROM fm_pipeline.import_history other WHERE other.job_id = %s"
            "  AND other.status = 'conflict' AND other.orthanc_instance_id = back.orthanc_instance_id"
            "  AND other.file_hash = back.file_hash)",
            (ids, gone, ledger.job_id),
        )
        # An archive is to be opened again as long as Orthanc lacks something of it.
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
