"""Orthanc's responses to uploads: of one file, and of several in a ZIP archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fm_pipeline.dicom.orthanc.connection_pool import OrthancResponse
from fm_pipeline.dicom.orthanc.errors import FileRefused, OrthancUnreachable

_IDS = ("ID", "ParentPatient", "ParentStudy", "ParentSeries")


@dataclass(frozen=True)
class StoredInstance:
    """Orthanc's response to an upload.

    Attributes:
        status: `AlreadyStored`: Orthanc had this instance and kept its file; `FilteredOut`: a filter in Orthanc's
            configuration rejected it.
        repeated: the upload was repeated because an earlier response did not arrive. So `AlreadyStored` may be the
            result of the earlier attempt.
    """

    status: Literal["Success", "AlreadyStored", "FilteredOut"]
    instance_id: str
    patient_id: str
    study_id: str
    series_id: str
    repeated: bool = False


def stored_instance(answer: OrthancResponse) -> StoredInstance | None:
    """Parse a response with status 200 to the upload of one file; None if it has other content.

    Raises:
        FileRefused, OrthancUnreachable: the file was not stored.
    """
    content = answer.json()
    if isinstance(content, list):  # Orthanc took the file for a ZIP archive, and lists the files in it
        raise FileRefused("taken_for_archive", answer.status)
    if isinstance(content, dict) and content.get("Status") == "Failure":  # documented, never observed
        raise OrthancUnreachable("Orthanc says that it could not store a file.")
    return _instance(content)


def stored_instances(answer: OrthancResponse) -> dict[str, StoredInstance] | None:
    """Parse a response with status 200 to the upload of a ZIP archive, by instance; None if it has other content.

    Files without a usable response are left out.
    """
    content = answer.json()
    if not isinstance(content, list):
        return None
    stored = (_instance(row) for row in content)
    return {each.instance_id: each for each in stored if each is not None}


def _instance(row: Any) -> StoredInstance | None:
    status = row.get("Status") if isinstance(row, dict) else None
    ids = [row.get(name) for name in _IDS] if isinstance(row, dict) else []
    if status not in {"Success", "AlreadyStored", "FilteredOut"} or not all(isinstance(each, str) for each in ids):
        return None
    instance_id, patient_id, study_id, series_id = map(str, ids)
    return StoredInstance(status, instance_id, patient_id, study_id, series_id)
