"""Write entries to history and count them in their job, in one transaction, so that both always agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from fm_pipeline.dicom.history.history_entry import HistoryEntry
from fm_pipeline.dicom.model import Outcome, other_person
from fm_pipeline.dicom.paths import archive_of, file_name, path_hash, printable
from fm_pipeline.dicom.reasons import sentence

ANOTHER_PERSON = "patient_id_with_another_name"

_COLUMNS = (
    "job_id, path_hash, file_path, file_name, file_size_bytes, modified_ns, changed_ns, file_hash, status, reason,"
    " error_message, flags, orthanc_instance_id, orthanc_patient_id, orthanc_study_id, orthanc_series_id, patient_id,"
    " study_uid, series_uid, instance_uid, sop_class_uid, transfer_syntax_uid, modality, study_month, other_hash,"
    " sends, archive_hash, missing_since, removed_at, removal_id, imported_at"
)
_TEMPLATE = f"({'%s, ' * 27}NULL, NULL, NULL, clock_timestamp())"
_UPDATE = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[2:])
_UPSERT = (
    f"INSERT INTO fm_pipeline.import_history ({_COLUMNS}) VALUES %s"  # noqa: S608  # names of ours
    f" ON CONFLICT (job_id, path_hash) DO UPDATE SET {_UPDATE}"
)
_COUNTS = ", ".join(f"files_{outcome} = files_{outcome} + %({outcome})s" for outcome in Outcome)
_ADD = (
    f"UPDATE fm_pipeline.import_jobs SET {_COUNTS}, size_processed_bytes = size_processed_bytes + %(bytes)s"  # noqa: S608
    " WHERE id = %(job_id)s"
)


def write_entries(cursor: Cursor, job_id: int, entries: Sequence[HistoryEntry]) -> None:
    """Insert rows, or replace those of files that are tried again. Idempotent.

    Args:
        cursor: an open cursor; the caller owns the transaction.
    """
    by_path = {entry.path_hash: entry for entry in entries}
    if not by_path:
        return
    cursor.execute(
        "SELECT status, count(*), coalesce(sum(file_size_bytes), 0)::bigint FROM fm_pipeline.import_history"
        " WHERE job_id = %s AND path_hash = ANY(%s::uuid[]) GROUP BY status",
        (job_id, list(by_path)),
    )
    counts = Counter({outcome.value: 0 for outcome in Outcome})
    size = sum(entry.found.size for entry in by_path.values() if entry.found)
    for status, count, bytes_before in cursor.fetchall():
        counts[status] -= count
        size -= bytes_before
    for entry in by_path.values():
        counts[entry.outcome.value] += 1
    others = _other_persons(cursor, by_path.values())
    rows = [_row(job_id, key, entry, others) for key, entry in by_path.items()]
    execute_values(cursor, _UPSERT, rows, _TEMPLATE, page_size=len(rows))
    cursor.execute(_ADD, {**counts, "bytes": size, "job_id": job_id})


def _row(job_id: int, key: str, entry: HistoryEntry, others: set[tuple[str, str]]) -> tuple[object, ...]:
    found, of = entry.found, entry.instance
    flags = list(entry.flags)
    if of and (of.patient_id, of.identity) in others:
        flags.append(ANOTHER_PERSON)
    values = (
        job_id,
        key,
        printable(entry.path),
        printable(file_name(entry.path)),
        found.size if found else None,
        bigint(found.modified_ns) if found else None,
        bigint(found.changed_ns) if found else None,
        entry.md5,
        entry.outcome.value,
        entry.reason,
        sentence(entry.reason) if entry.reason else None,
        flags,
        *entry.orthanc_ids,
        *(
            (of.patient_id, of.study_uid, of.series_uid, of.instance_uid, of.sop_class_uid, of.transfer_syntax)
            if of
            else [None] * 6
        ),
        of.modality or None if of else None,
        _month(of.study_date) if of else None,
        entry.other_md5,
        entry.sends,
        path_hash(archive) if (archive := archive_of(entry.path)) else None,
    )
    return tuple(value.replace("\0", "") if isinstance(value, str) else value for value in values)


def bigint(number: int) -> int:
    """Clamp a number to the range of bigint: a time after the year 2262, or before 1677, exceeds it in nanoseconds."""
    return max(min(number, 2**63 - 1), -(2**63))


def _month(study_date: str) -> str | None:
    return f"{study_date[:4]}-{study_date[4:6]}" if study_date else None


def note_persons(cursor: Cursor, persons: Iterable[tuple[str, str]]) -> None:
    """Store Patient IDs with the identities of their persons. Idempotent."""
    execute_values(
        cursor,
        "INSERT INTO fm_pipeline.import_patients (patient_id, identity) VALUES %s ON CONFLICT DO NOTHING",
        sorted(persons),  # in one order, so that two jobs never wait for each other
    )


def _other_persons(cursor: Cursor, entries: Iterable[HistoryEntry]) -> set[tuple[str, str]]:
    """Store these Patient IDs with their identities, and return those that an earlier file contradicts."""
    instances = [entry.instance for entry in entries if entry.instance]
    seen = {(of.patient_id.replace("\0", ""), of.identity) for of in instances if of.patient_id}
    if not seen:
        return set()
    note_persons(cursor, seen)
    cursor.execute(
        "SELECT patient_id, identity, one_person_since IS NOT NULL FROM fm_pipeline.import_patients"
        " WHERE patient_id = ANY(%s)",
        ([patient_id for patient_id, _ in seen],),
    )
    known: dict[str, list[str]] = {}
    confirmed: dict[str, set[str]] = {}
    for patient_id, identity, is_confirmed in cursor.fetchall():
        known.setdefault(patient_id, []).append(identity)
        confirmed.setdefault(patient_id, set()).update(identity.split(":") if is_confirmed else ())
    return {
        (patient_id, identity)
        for patient_id, identity in seen
        if any(other_person(identity, other, confirmed[patient_id]) for other in known[patient_id])
    }
