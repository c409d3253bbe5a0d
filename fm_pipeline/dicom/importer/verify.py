"""Compare Orthanc with the ledger after an import, by ids that are computed here.

An Orthanc with a limit silently deletes its oldest patients while it accepts new ones. Only this check finds that. The
oldest patients are those of earlier imports and of other senders, so the number of all instances is compared too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.history.job_ledger import JobLedger
from fm_pipeline.dicom.history.jobs import Job, read_job
from fm_pipeline.dicom.importer.coordinator import Interrupted
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.delivery import Delivery
from fm_pipeline.dicom.orthanc.errors import OrthancError
from fm_pipeline.errors import DicomError
from fm_pipeline.pluralize import counted

_BATCH = 2000  # instances per query; 6,000 took 0.07 s
_QUESTIONS = 100  # about single instances, between two looks whether the job was cancelled
_HELD = "status IN ('imported', 'already_there', 'duplicate', 'conflict') AND removed_at IS NULL"
# An archive has to be opened again as long as Orthanc lacks one of its members, and only so long.
_INCOMPLETE_ARCHIVES = """
UPDATE fm_pipeline.import_history SET missing_since = clock_timestamp() WHERE missing_since IS NULL
AND path_hash IN (SELECT archive_hash FROM fm_pipeline.import_history
                  WHERE archive_hash IS NOT NULL AND missing_since IS NOT NULL)
"""
_COMPLETE_ARCHIVES = """
UPDATE fm_pipeline.import_history archive SET missing_since = NULL WHERE missing_since IS NOT NULL
AND orthanc_instance_id IS NULL AND NOT EXISTS (SELECT FROM fm_pipeline.import_history member
    WHERE member.archive_hash = archive.path_hash AND member.missing_since IS NOT NULL)
"""


@dataclass(frozen=True)
class Comparison:
    """The result of comparing the instances of a job.

    Attributes:
        missing: not in Orthanc; their rows have `missing_since`, and a resumed job sends them again.
        differing: with another size than the file, or another MD5 if that was requested. Conflicts do not count, and
            neither do instances that Orthanc has converted to another transfer syntax (`IngestTranscoding`).
    """

    expected: int
    missing: int
    differing: int


class MissingInOrthanc(DicomError):
    """The comparison after an import found that Orthanc has lost instances.

    Args:
        count: instances of this job that Orthanc had reported as stored.
        others: at least so many of earlier imports or of other senders, which Orthanc had when the job began.
    """

    def __init__(self, count: int, others: int) -> None:
        lost = []
        if count:
            lost.append(f"Orthanc does not have {counted(count, 'instance')} that it said it had stored.")
        if others:
            lost.append(
                f"While the job ran, Orthanc lost at least {counted(others, 'instance')} of earlier imports or of other"
                " senders."
            )
        super().__init__(
            " ".join(lost),
            meaning="Perhaps it deletes old patients to keep below MaximumStorageSize or MaximumPatientCount.",
            remedy="Raise the limit in Orthanc's configuration and resume the job: what is missing of it is sent again."
            + (
                " To send again what is missing of earlier imports: fm-pipeline dicom import DIRECTORY. If somebody"
                " deleted instances in Orthanc meanwhile, nothing is wrong. If Orthanc deletes patients on purpose:"
                " ORTHANC_KEEPS_ALL=false."
                if others
                else ""
            ),
        )


@dataclass(frozen=True)
class StoreBefore:
    """How many instances Orthanc had before a part of a job, and how many the job had imported until then."""

    instances: int
    imported: int


def read_store(orthanc: Orthanc, job: Job) -> StoreBefore | None:
    """Return what Orthanc holds before a job; None if it never deletes on its own, or does not say now."""
    try:
        limits = orthanc.limits()
    except OrthancError:
        return None
    return StoreBefore(limits.held_instances, job.files_imported) if limits.may_recycle else None


def count_lost(job: Job, delivery: Delivery, before: StoreBefore) -> int:
    """Return how many instances Orthanc has lost since the job began, at least: other senders may have added some."""
    held = delivery.ask(lambda orthanc: orthanc.limits()).held_instances
    return before.instances + job.files_imported - before.imported - held


def compare(
    ledger: JobLedger,
    delivery: Delivery,
    *,
    md5: bool = False,
    keeps_all: bool = True,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Comparison:
    """Compare every instance of a job with Orthanc, and record which are missing.

    Args:
        keeps_all: whether Orthanc should have all that it got. Otherwise nothing counts as missing.
        md5: also compare the MD5 of each instance; about 2,000 per second.
        on_progress: called with the number of compared instances.

    Raises:
        Interrupted: the job was cancelled.
        Halted, OrthancStop, OrthancUnreachable, DatabaseError: the comparison is incomplete.
    """
    expected = missing = differing = questions = 0
    converts_to = delivery.ask(lambda orthanc: orthanc.converts_to())
    after = ""

    def on_part(done: int) -> None:
        ledger.run(lambda cursor: _raise_if_cancelled(cursor, ledger.job_id))
        on_progress(expected + done)

    while rows := ledger.run(lambda cursor, after=after: next_instances(cursor, ledger.job_id, after)):  # type: ignore[misc]
        after = rows[-1][0]
        ids = [orthanc_id for orthanc_id, *_ in rows]
        sizes = delivery.parts.sizes(delivery.ask, ids, on_part)
        gone = [orthanc_id for orthanc_id in ids if orthanc_id not in sizes] if keeps_all else []
        for number, (orthanc_id, size, hashed, syntax) in enumerate(rows, 1):
            if orthanc_id not in sizes or size is None:
                continue
            differs = sizes[orthanc_id] != size
            questions += md5 or (differs and converts_to != "")
            if questions == _QUESTIONS:
                questions = 0
                ledger.run(lambda cursor: _raise_if_cancelled(cursor, ledger.job_id))
                on_progress(expected + number)
            if md5 and not differs:
                differs = delivery.ask(lambda orthanc, each=orthanc_id: orthanc.md5(each)) != hashed  # type: ignore[misc]
            differing += differs and not _is_converted(delivery, orthanc_id, syntax, converts_to)
        _write_down(ledger, list(sizes), gone)
        expected, missing = expected + len(ids), missing + len(gone)
        on_progress(expected)
    comparison = Comparison(expected, missing, differing)
    _end(ledger, comparison)
    return comparison


def _is_converted(delivery: Delivery, orthanc_id: str, syntax: str | None, converts_to: str | None) -> bool:
    """Return whether Orthanc holds an instance in another transfer syntax than its file, to which it may convert."""
    if converts_to == "":
        return False
    held = delivery.ask(lambda orthanc: orthanc.transfer_syntax(orthanc_id))
    return held is not None and held != syntax and converts_to in (None, held)


def next_instances(cursor: Cursor, job_id: int, after: str) -> list[tuple[str, int | None, str | None, str | None]]:
    """Return the next instances of a job, in the order of their ids.

    Returns:
        Orthanc's id; size, hash and transfer syntax of the file in Orthanc, which are None for those of a conflict.
    """
    cursor.execute(
        "SELECT orthanc_instance_id, max(file_size_bytes) FILTER (WHERE status <> 'conflict'),"  # noqa: S608
        " max(file_hash) FILTER (WHERE status <> 'conflict'),"
        " max(transfer_syntax_uid) FILTER (WHERE status <> 'conflict') FROM fm_pipeline.import_history"
        f" WHERE job_id = %s AND {_HELD} AND orthanc_instance_id > %s"
        f" GROUP BY orthanc_instance_id ORDER BY orthanc_instance_id LIMIT {_BATCH}",
        (job_id, after),
    )
    return cursor.fetchall()


def _write_down(ledger: JobLedger, held: list[str], gone: list[str]) -> None:
    """Record which instances Orthanc has, and which it has lost. Others stay as they are.

    An archive of one that is lost is recorded too: the comparison may be interrupted before its end.
    """

    def action(cursor: Cursor) -> None:
        if gone:
            cursor.execute(
                "WITH lost AS (UPDATE fm_pipeline.import_history SET missing_since = clock_timestamp()"  # noqa: S608
                f" WHERE orthanc_instance_id = ANY(%s) AND missing_since IS NULL AND {_HELD} RETURNING archive_hash)"
                " SELECT DISTINCT archive_hash::text FROM lost WHERE archive_hash IS NOT NULL",
                (gone,),
            )
            cursor.execute(
                "UPDATE fm_pipeline.import_history SET missing_since = clock_timestamp()"
                " WHERE path_hash = ANY(%s::uuid[]) AND missing_since IS NULL",
                ([archive for (archive,) in cursor.fetchall()],),
            )
        if held:
            cursor.execute(
                # A row stays missing if Orthanc now holds another file of the instance. OFFSET makes PostgreSQL look up
                # the instances, and not all rows that are missing so far.
                "UPDATE fm_pipeline.import_history back SET missing_since = NULL"
                " WHERE id = ANY(ARRAY(SELECT id FROM (SELECT id, missing_since FROM fm_pipeline.import_history"
                "  WHERE orthanc_instance_id = ANY(%s) OFFSET 0) met WHERE missing_since IS NOT NULL))"
                " AND NOT EXISTS (SELECT FROM fm_pipeline.import_history other WHERE other.job_id = %s"
                "  AND other.status = 'conflict' AND other.orthanc_instance_id = back.orthanc_instance_id"
                "  AND other.file_hash = back.file_hash)",
                (held, ledger.job_id),
            )
        _raise_if_cancelled(cursor, ledger.job_id)

    ledger.run(action)


def _raise_if_cancelled(cursor: Cursor, job_id: int) -> None:
    job = read_job(cursor, job_id)
    if job.cancel_requested_at is not None or job.status != "running":
        raise Interrupted


def _end(ledger: JobLedger, comparison: Comparison) -> None:
    """Record what the comparison found. Of all archives, once: each part would read all members that are missing."""

    def action(cursor: Cursor) -> None:
        cursor.execute(_INCOMPLETE_ARCHIVES)
        cursor.execute(_COMPLETE_ARCHIVES)
        cursor.execute(
            "UPDATE fm_pipeline.import_jobs SET instances_expected = %s, instances_missing = %s,"
            " instances_differing = %s, compared_at = clock_timestamp() WHERE id = %s",
            (comparison.expected, comparison.missing, comparison.differing, ledger.job_id),
        )

    ledger.run(action)
