"""The Patient IDs that an erasure was given: their spellings, what is known of them, and that they are kept out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.model import orthanc_id
from fm_pipeline.errors import RequestError

EMPTY = " \0\t\r\n"  # characters that are no Patient ID by themselves

# The history is read once for all of them: Patient IDs have no index there.
_KNOWN = """
WITH asked AS (SELECT * FROM unnest(%(places)s::int[], %(ids)s::text[], %(hashes)s::text[]) a (place, id, hash)),
erased AS (SELECT DISTINCT place FROM asked JOIN fm_pipeline.erased_dicom_patients e ON e.orthanc_patient_id = hash),
found AS MATERIALIZED (
    SELECT DISTINCT place, patient_id, path_hash, study_uid, study_month
    FROM fm_pipeline.import_history, LATERAL (VALUES (patient_id), (orthanc_patient_id)) of_row (value)
        JOIN (SELECT place, id AS key FROM asked UNION SELECT place, hash FROM asked) keys ON key = value),
met AS (SELECT place, count(DISTINCT path_hash) AS files, count(DISTINCT study_uid) AS studies,
               min(study_month) AS first_month, max(study_month) AS last_month FROM found GROUP BY place),
persons AS (SELECT place, count(*) AS met, count(*) FILTER (WHERE one_person_since IS NULL) AS unconfirmed
            FROM (SELECT place, id FROM asked UNION SELECT place, patient_id FROM found) ids (place, id)
                JOIN fm_pipeline.import_patients p ON p.patient_id = id GROUP BY place)
SELECT erased.place IS NOT NULL, coalesce(persons.met, 0), coalesce(unconfirmed, 0), coalesce(files, 0),
    coalesce(studies, 0), first_month, last_month
FROM (SELECT DISTINCT place FROM asked) each LEFT JOIN erased USING (place) LEFT JOIN persons USING (place)
    LEFT JOIN met USING (place) ORDER BY place
"""
_KEEP_OUT = """
INSERT INTO fm_pipeline.erased_dicom_patients (orthanc_patient_id) SELECT unnest(%s::text[])
ON CONFLICT (orthanc_patient_id) DO UPDATE SET erased_at = excluded.erased_at
"""


@dataclass(frozen=True)
class ErasedId:
    """A Patient ID that is to be erased.

    Attributes:
        given: as somebody has typed it.
        is_known: an import has met it, or it was erased before. If not, it may be mistyped, and is not kept out.
        persons: combinations of name and birth date under it, or under what an earlier import has read instead; 1 or 0
            if somebody has confirmed that it is one person.
        files, studies: how many of them the history has under it.
        first_month, last_month: of their study dates, `YYYY-MM`; None if no file has one.
    """

    given: str
    is_known: bool
    persons: int
    files: int
    studies: int
    first_month: str | None
    last_month: str | None


def spellings(patient_id: str) -> set[str]:
    """Return the texts that Orthanc and the history may have for a Patient ID.

    Spaces at its end do not count, but both keep them where a file gives the value as VR UN.

    Raises:
        RequestError: it is empty: it would mean the files of everybody that have none.
    """
    if not patient_id.strip(EMPTY):
        raise RequestError(
            "A Patient ID is empty.",
            meaning="An empty Patient ID names no person: files without one may be of anybody. Nothing was removed.",
            remedy="Give the Patient ID that the files have, or leave out --dicom-patient-id.",
        )
    bare = patient_id.rstrip(" ")
    return {patient_id, bare, f"{bare} "}


def known_ids(cursor: Cursor, patient_ids: Iterable[str]) -> list[ErasedId]:
    """Return what is known of each Patient ID, before it is erased.

    Raises:
        RequestError: one is empty.
    """
    given = list(dict.fromkeys(patient_ids))
    asked = [(place, text, orthanc_id(text)) for place, each in enumerate(given) for text in sorted(spellings(each))]
    places, ids, hashes = ([row[column] for row in asked] for column in range(3))
    cursor.execute(_KNOWN, {"places": places, "ids": ids, "hashes": hashes})
    found = []
    for each, (was_erased, persons, unconfirmed, files, *of_files) in zip(given, cursor.fetchall(), strict=True):
        is_known = bool(was_erased or persons or files)
        found.append(ErasedId(each, is_known, persons if unconfirmed else min(persons, 1), files, *of_files))
    return found


def keep_out(cursor: Cursor, patient_ids: Sequence[str]) -> None:
    """Keep files of these Patient IDs out of incremental imports from now on."""
    cursor.execute(_KEEP_OUT, (sorted({orthanc_id(text) for each in patient_ids for text in spellings(each)}),))
