"""The outcome of one file, before it is written to history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fm_pipeline.dicom.model import FoundFile, Instance, Outcome, SetAside, Unreadable, orthanc_id
from fm_pipeline.dicom.orthanc.stored_instance import StoredInstance
from fm_pipeline.dicom.paths import path_hash

if TYPE_CHECKING:
    from fm_pipeline.dicom.files.read import UnusableFile


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A row of history that is not written yet.

    Attributes:
        path: as the scan yielded it.
        found: None for anything but a regular file.
        other_md5: in a conflict, the MD5 of the file that Orthanc holds.
        sends: how often the file was sent in this job.
    """

    path: str
    outcome: Outcome
    reason: str | None = None
    found: FoundFile | None = None
    md5: str | None = None
    instance: Instance | None = None
    stored: StoredInstance | None = None
    other_md5: str | None = None
    flags: tuple[str, ...] = ()
    sends: int = 0

    @property
    def path_hash(self) -> str:
        """The key of the path in history."""
        return path_hash(self.path)

    @property
    def orthanc_ids(self) -> tuple[str | None, str | None, str | None, str | None]:
        """Orthanc's ids of instance, patient, study and series: reported by Orthanc, or else computed."""
        if self.stored is not None:
            return self.stored.instance_id, self.stored.patient_id, self.stored.study_id, self.stored.series_id
        if self.instance is None or self.reason == "id_uncertain":
            return None, None, None, None
        of = self.instance
        return (
            of.orthanc_id,
            orthanc_id(of.patient_id),
            orthanc_id(of.patient_id, of.study_uid),
            orthanc_id(of.patient_id, of.study_uid, of.series_uid),
        )

    @property
    def has_another_id(self) -> bool:
        """Whether Orthanc gave the instance another id than the one that was computed for certain."""
        if self.stored is None or self.instance is None or not self.instance.id_certain:
            return False
        return self.stored.instance_id != self.instance.orthanc_id


def entry_of(what: SetAside | Unreadable | UnusableFile) -> HistoryEntry:
    """Return the entry of a file that is not sent, whatever history and Orthanc have."""
    if isinstance(what, SetAside):
        return HistoryEntry(what.path, Outcome.SKIPPED, what.reason)
    if isinstance(what, Unreadable):
        return HistoryEntry(what.path, Outcome.FAILED, what.reason)
    return HistoryEntry(what.found.path, what.outcome, what.reason, what.found, what.md5)
