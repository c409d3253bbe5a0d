"""Orthanc's responses about what it holds: sizes of instances, persons of patients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fm_pipeline.dicom.orthanc.connection_pool import OrthancResponse


@dataclass(frozen=True)
class HeldPatient:
    """The person of a patient in Orthanc's index: of its first file, with 1.12.7 also of a series modified there."""

    name: str = field(repr=False)
    birth_date: str = field(repr=False)


def held_sizes(answer: OrthancResponse) -> dict[str, int] | None:
    """Return the size of each instance in a response of /tools/bulk-content, by id; None if it has other content."""
    rows = _rows(answer)
    if rows is None:
        return None
    sizes: list[tuple[Any, Any]] = [
        (row.get("ID"), row.get("FileSize")) for row in rows if row.get("Type") == "Instance"
    ]
    return dict(sizes) if all(isinstance(each, str) and type(size) is int for each, size in sizes) else None


def held_size(answer: OrthancResponse) -> int | None:
    """Return the size in a response about one instance; None if it has other content."""
    content = answer.json()
    size = content.get("FileSize") if isinstance(content, dict) else None
    return size if type(size) is int else None


def held_patients(answer: OrthancResponse) -> dict[str, HeldPatient] | None:
    """Return the patients in a response of /tools/bulk-content, by id; None if it has other content."""
    rows = _rows(answer)
    if rows is None:
        return None
    patients = {}
    for row in rows:
        tags = row.get("MainDicomTags")
        if row.get("Type") == "Patient" and isinstance(row.get("ID"), str) and isinstance(tags, dict):
            patients[row["ID"]] = HeldPatient(*(str(tags.get(tag, "")) for tag in ("PatientName", "PatientBirthDate")))
    return patients


def _rows(answer: OrthancResponse) -> list[dict[str, Any]] | None:
    rows = answer.json()
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None
