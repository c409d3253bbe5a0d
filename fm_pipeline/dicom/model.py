"""What is known of a file: that it is there, what it holds, and how it ended."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

# Our limit for sequences inside sequences; what is nested deeper is suspect. Real files stay far below it.
DEEPEST_SAFE_NESTING = 45


class Outcome(StrEnum):
    """How a file ended; each has exactly one, so their counts add up to what was scanned."""

    IMPORTED = "imported"
    ALREADY_THERE = "already_there"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    SKIPPED = "skipped"
    BAD = "bad"
    FAILED = "failed"
    SUSPECT = "suspect"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file that a scan met. Its content was not read.

    Attributes:
        path: absolute; bytes that are no UTF-8 as `os.fsdecode` has them (`paths.printable` before it is stored).
        size: bytes.
        modified_ns, changed_ns: mtime and ctime, nanoseconds since 1970; ctime shows a replaced file that was given
            the old mtime.
        device, inode: the file itself, whatever its name.
    """

    path: str
    size: int
    modified_ns: int
    changed_ns: int
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """Something that a scan met and that is not opened: by its kind or its name. Its outcome is `skipped`."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What could not be read. A directory of this kind makes the scan incomplete; a file's outcome is `failed`."""

    path: str
    is_directory: bool
    reason: str


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file whose content was looked at and is not to be sent.

    Attributes:
        outcome: SKIPPED or BAD; FAILED if it could not be understood.
        reason: an id of `reasons`.
    """

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Instance:
    """What a DICOM file says of itself. Text is Unicode whatever the file's character set.

    Attributes:
        patient_id: as Orthanc reads it: trailing spaces stripped; leading ones and case count; may be empty.
        study_uid, series_uid, instance_uid: as Orthanc reads them: without white space.
        transfer_syntax: of the file meta information; for a file without, what its data set is encoded in.
        study_date: `YYYYMMDD`, or empty.
        identity: recognises another person under the same Patient ID without keeping the name; `other_person`.
        nesting: how deep sequences are nested at least; exact where it is too deep.
        id_certain: any Orthanc gives the instance this `orthanc_id`. False where its configuration decides how an
            identifier is read, or where the file is not understood as far as that.
        whole: nothing in the file is known to keep Orthanc from reading it.
    """

    patient_id: str = field(repr=False)
    study_uid: str
    series_uid: str
    instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    modality: str
    study_date: str
    identity: str
    nesting: int
    id_certain: bool = True
    whole: bool = True

    @property
    def orthanc_id(self) -> str:
        """The id that Orthanc gives the instance (Orthanc Book, "Orthanc identifiers")."""
        return orthanc_id(self.patient_id, self.study_uid, self.series_uid, self.instance_uid)

    @property
    def without_patient_id(self) -> bool:
        """All such files share one patient in Orthanc: they are stored, and flagged."""
        return not self.patient_id

    @property
    def nested_too_deep(self) -> bool:
        """Whether its sequences are nested deeper than our limit: suspect, reason `nested_too_deep`."""
        return self.nesting > DEEPEST_SAFE_NESTING


def orthanc_id(*identifiers: str) -> str:
    """Orthanc's id of a patient, study, series or instance, from the one to four identifiers that lead to it."""
    digest = hashlib.sha1("|".join(identifiers).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))


def identity(patient_id: str, name: str, birth_date: str) -> str:
    """Two short hashes, of the name and of the birth date, bound to the Patient ID; an unknown one is empty.

    Writing that differs in case, carets and spaces only is the same name; of several representations the first counts.
    """
    alphabetic = " ".join(name.partition("=")[0].replace("^", " ").casefold().split())
    return f"{_short(patient_id, alphabetic)}:{_short(patient_id, birth_date.strip())}"


def other_person(one: str, another: str) -> bool:
    """Whether two identities under one Patient ID contradict each other; what is unknown does not."""
    pairs = zip(one.split(":"), another.split(":"), strict=True)
    return any(left and right and left != right for left, right in pairs)


def _short(patient_id: str, text: str) -> str:
    if not text:
        return ""
    key = hashlib.blake2b(patient_id.encode(), digest_size=32).digest()
    return hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()
