"""The basic types: a file that was found, the instance in it, and its outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

# The limit for nested sequences. A file with deeper nesting is suspect. Real files stay far below it.
DEEPEST_SAFE_NESTING = 45


class Outcome(StrEnum):
    """The outcome of a file. Each file has exactly one, so their counts add up to the number of scanned files."""

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
    """A regular file that a scan found. Its content was not read.

    Attributes:
        path: absolute, decoded with `os.fsdecode` (`paths.printable` before it is stored).
        size: in bytes.
        modified_ns, changed_ns: mtime and ctime in nanoseconds since 1970. ctime reveals a replaced file that was given
            the old mtime.
        device, inode: identify the file whatever its name.
    """

    path: str
    size: int
    modified_ns: int
    changed_ns: int
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """An entry that is not opened because of its kind or its name. Its outcome is `skipped`."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or directory that could not be read. A file is `failed`; a directory makes the scan incomplete."""

    path: str
    is_directory: bool
    reason: str


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file that was inspected and is not sent.

    Attributes:
        outcome: SKIPPED or BAD; FAILED if the inspection itself failed.
        reason: an id of `reasons`.
    """

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Instance:
    """The instance in a DICOM file. Text is Unicode, whatever the character set of the file.

    Attributes:
        patient_id: as Orthanc reads it: trailing spaces are stripped; leading ones and case count. May be empty.
        study_uid, series_uid, instance_uid: as Orthanc reads them: without white space.
        transfer_syntax: from the file meta information; without that, the encoding of the data set.
        study_date: `YYYYMMDD`, or empty.
        identity: tells another person under the same Patient ID without storing the name; see `other_person`.
        plain_name: the name is plain ASCII, so that Orthanc reads it alike; true for an empty one.
        nesting: the least depth of nested sequences; exact where it is above the limit.
        id_certain: every Orthanc gives the instance this `orthanc_id`. False if Orthanc's configuration decides how an
            identifier is read, or if the identifiers may not have been reached.
        whole: nothing in the file is known to keep Orthanc from reading it.
        holds_another: another instance is behind this one in the file, and Orthanc does not read it.
        other_readings: what an Orthanc with another version or configuration may read as Patient ID, each with its
            identity.
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
    plain_name: bool
    nesting: int
    id_certain: bool = True
    whole: bool = True
    holds_another: bool = False
    other_readings: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def readings(self) -> list[Instance]:
        """This instance as each Orthanc may read it; first as it is."""
        others = (replace(self, patient_id=read, identity=of, other_readings=()) for read, of in self.other_readings)
        return [self, *others]

    def as_read(self, orthanc_patient_id: str) -> Instance:
        """Return this instance as it is read by an Orthanc that gives its patient this id; if none fits, itself."""
        return next((each for each in self.readings if orthanc_id(each.patient_id) == orthanc_patient_id), self)

    @property
    def orthanc_id(self) -> str:
        """The id that Orthanc gives the instance (Orthanc Book, "Orthanc identifiers")."""
        return orthanc_id(self.patient_id, self.study_uid, self.series_uid, self.instance_uid)

    @property
    def without_patient_id(self) -> bool:
        """Whether the Patient ID is empty. Such files share one patient in Orthanc; they are stored and flagged."""
        return not self.patient_id

    @property
    def nested_too_deep(self) -> bool:
        """Whether its sequences are nested deeper than the limit. Such a file is suspect (`nested_too_deep`)."""
        return self.nesting > DEEPEST_SAFE_NESTING


@lru_cache(4096)  # each is needed ten times or so while its file is imported
def orthanc_id(*identifiers: str) -> str:
    """Return Orthanc's id of a patient, study, series or instance, from its one to four identifiers."""
    digest = hashlib.sha1("|".join(identifiers).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))


def identity(patient_id: str, name: str, birth_date: str) -> str:
    """Return short hashes of name and birth date, keyed by the Patient ID. An unknown value has an empty hash.

    Case, carets and spaces do not count in a name. Of several representations, the first counts.
    """
    alphabetic = " ".join(name.partition("=")[0].replace("^", " ").casefold().split())
    return f"{_short(patient_id, alphabetic)}:{_short(patient_id, birth_date.strip())}"


def other_person(one: str, another: str, confirmed: Set[str] = frozenset()) -> bool:
    """Return whether two identities under one Patient ID contradict each other. Unknown values do not.

    Args:
        confirmed: hashes of names and birth dates that a person has confirmed to be of one person.
    """
    pairs = zip(one.split(":"), another.split(":"), strict=True)
    return any(left and right and left != right and not confirmed >= {left, right} for left, right in pairs)


def _short(patient_id: str, text: str) -> str:
    if not text:
        return ""
    key = hashlib.blake2b(patient_id.encode(), digest_size=32).digest()
    return hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()
