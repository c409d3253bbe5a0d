"""Plan which file of the bulk dump becomes which image of which patient. Pure functions, no input or output."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePosixPath

from fm_pipeline.images.exports.metadata_table import MetadataRow
from fm_pipeline.images.linking.copy_ledger import CopyRecord
from fm_pipeline.images.linking.inventory import recid_of
from fm_pipeline.images.nexus.batch_and_image_values import CATEGORY_COLUMNS
from fm_pipeline.images.nexus.image_index import RECID_REUSED, ImageIndex
from fm_pipeline.images.nexus.patient_index import PatientIndex, PatientMatch
from fm_pipeline.storage.bucket import COPY_LIMIT, StoredObject

SKIP_REASONS = {
    "no_date": "FileMaker has no date for it",
    "date_unreadable": "its date is none",
    "no_patient": "FileMaker has no patient for it",
    "patient_unknown": "Nexus has no such patient",
    "patient_ambiguous": "its reference names two patients",
    "no_file": "the bulk dump has no file of its record id",
    "several_files": "the bulk dump has different files of its record id",
    "too_large": "its file is larger than one copy inside S3 may be",
    "value_too_long": "a text is longer than its column in Nexus",
    "removed_in_nexus": "it was linked before and somebody removed it in Nexus",
}
ERROR_REASONS = {
    "linked_to_another_patient": "Nexus shows it with another patient than FileMaker names now",
    RECID_REUSED: "its record id was another image's, and the bulk dump calls files by record ids",
    "batch_of_another_patient": "its batch belongs to another patient",
    "target_differs": "the key of its copy is taken by other bytes",
    "source_changed": "its file was changed or removed while the link ran",
    "archived": "its file lies in an archive of S3 (Glacier) and has to be restored there first",
    "copy_failed": "S3 did not make the copy",
    "copy_gone": "its copy was deleted from S3, and nothing shows that the bulk dump has the file that it was made of",
    "unexpected_error": "an error that was not foreseen; the log names its class and place: report them",
    "not_verified": "the copy is not in the listing as it should be",
}


@dataclass(frozen=True)
class PlannedImage:
    """An image that can be linked."""

    record: MetadataRow
    patient: PatientMatch
    taken: date
    batch_id: str
    source: StoredObject
    target_key: str

    @property
    def recid(self) -> int:
        """FileMaker's record id."""
        return self.record.recid

    @property
    def thumbnail_key(self) -> str:
        """See `thumbnail_key_of`."""
        return thumbnail_key_of(self.target_key)

    def ledger_row(self) -> CopyRecord:
        """Return the row of the copy ledger with which the copy starts."""
        source = self.source
        ids = (self.recid, self.patient.key, self.batch_id)
        return CopyRecord(*ids, source.key, source.size, source.etag, self.target_key, None, "planned", None)


@dataclass
class LinkPlan:
    """The plan: each record has exactly one outcome. `total` = planned + already + skipped + errors + left.

    Attributes:
        already: Nexus ids by record id, of images that are linked already.
        skipped, errors: reasons by record id.
        left: record ids beyond the limit.
        without_record: keys of files without a record.
        same_bytes: groups of planned images with equal files.
    """

    planned: list[PlannedImage] = field(default_factory=list)
    already: dict[int, str] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    without_record: list[str] = field(default_factory=list)
    same_bytes: list[list[PlannedImage]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many records there are."""
        return len(self.planned) + len(self.already) + len(self.skipped) + len(self.errors) + len(self.left)


def thumbnail_key_of(key: str) -> str:
    """Return the key of the thumbnail of a copy, beside the copy."""
    return f"{PurePosixPath(key).with_suffix('')}_thumb.jpg"


def target_key(patient_id: str, batch_id: str, recid: int, source_key: str) -> str:
    """Return the key of a copy: ids, no name, and the suffix of the source in lower case."""
    suffix = PurePosixPath(source_key).suffix.lower()
    return f"patients/{patient_id}/images/{batch_id}/{recid}{suffix}"


def plan_link(
    records: Iterable[tuple[MetadataRow, CopyRecord | None]],
    inventory: Sequence[StoredObject],
    prefix: str,
    patients: PatientIndex,
    known: ImageIndex,
    *,
    limits: Mapping[str, int | None],
    limit: int | None,
    restore_removed: bool,
) -> LinkPlan:
    """Decide for each record of the export whether its image can be linked, and how.

    Args:
        records: each with its row of the copy ledger, in the order of their record ids.
        limits: how many characters the columns of a category and `caption` take in Nexus.
        limit: at most so many images are planned, in the order of their record ids.
        restore_removed: link again images that somebody removed in Nexus.
    """
    files: dict[int, list[StoredObject]] = defaultdict(list)
    for found in inventory:
        recid = recid_of(found.key, prefix)
        if recid is not None:
            files[recid].append(found)
    plan, seen = LinkPlan(), set()
    first: list[PlannedImage] = []
    again: list[PlannedImage] = []  # earlier failures come last, or they would fill every run
    for record, copied in records:
        seen.add(record.recid)
        patient = patients.resolve(record.patient_ref)
        if _plan_existing(plan, record, patient, known):
            continue
        source = _one_file(files.get(record.recid, ()))
        if reason := _skip_reason(record, patient, source, limits):
            plan.skipped[record.recid] = reason
        elif copied and copied.state == "linked" and not restore_removed:
            plan.skipped[record.recid] = "removed_in_nexus"
        else:
            ready = again if copied and copied.state == "failed" else first
            if limit is not None and len(ready) >= limit:
                plan.left.append(record.recid)
            else:
                ready.append(_planned_image(record, patient, source, known, copied))
    most = len(again) if limit is None else max(limit - len(first), 0)
    plan.planned = sorted([*first, *again[:most]], key=lambda each: each.recid)
    plan.left += [each.recid for each in again[most:]]
    plan.without_record = [found.key for found in inventory if recid_of(found.key, prefix) not in seen]
    plan.same_bytes = _same_bytes(plan.planned)
    return plan


def _plan_existing(plan: LinkPlan, record: MetadataRow, patient: PatientMatch | str, known: ImageIndex) -> bool:
    """Enter an image that Nexus has, or whose record id was another one's; return whether it is one of these."""
    patient_id = patient.nexus_id if isinstance(patient, PatientMatch) else None
    image = known.find(record.recid, record.filemaker_id, patient_id, record.taken)
    if image is None and not known.is_number_of_another(record.recid, record.filemaker_id):
        return False
    if image is None or known.has_another_uuid(image, record.filemaker_id):
        plan.errors[record.recid] = RECID_REUSED  # the bulk dump calls files by these numbers
    elif patient_id is not None and image.patient_id in known.patients and image.patient_id != patient_id:
        plan.errors[record.recid] = "linked_to_another_patient"
    else:
        plan.already[record.recid] = image.id
    return True


def _planned_image(
    record: MetadataRow,
    patient: PatientMatch | str,
    source: StoredObject | str,
    known: ImageIndex,
    before: CopyRecord | None,
) -> PlannedImage:
    """Plan the copy of an image for which there is no reason to skip it."""
    assert isinstance(patient, PatientMatch)  # noqa: S101  # else there was a reason
    assert isinstance(source, StoredObject)  # noqa: S101
    assert record.taken  # noqa: S101
    batch = known.batch_for(patient.nexus_id, patient.key, record.taken)
    key = target_key(patient.nexus_id, batch, record.recid, source.key)
    if before and before.batch_id == batch:  # the copy may lie under an earlier id of the patient
        key = before.target_key
    return PlannedImage(record, patient, record.taken, batch, source, key)


def _one_file(files: Sequence[StoredObject]) -> StoredObject | str:
    """Return the file of a record, the first of equal ones; or the reason why there is none."""
    if not files:
        return "no_file"
    if len({(found.size, found.etag) for found in files}) > 1:
        return "several_files"
    return min(files, key=lambda found: found.key)


def _skip_reason(
    record: MetadataRow, patient: PatientMatch | str, source: StoredObject | str, limits: Mapping[str, int | None]
) -> str | None:
    """Return the first reason why an image cannot be linked; None if it can."""
    if record.taken is None:
        return "date_unreadable" if record.date_text else "no_date"
    if isinstance(patient, str):
        return patient
    if isinstance(source, str):
        return source
    if source.size > COPY_LIMIT:
        return "too_large"
    for text, column in (*((record.category, name) for name in CATEGORY_COLUMNS), (record.note, "caption")):
        most = limits.get(column)
        if most is not None and len(text) > most:
            return "value_too_long"
    return None


def _same_bytes(planned: Sequence[PlannedImage]) -> list[list[PlannedImage]]:
    counts = Counter((each.source.size, each.source.etag) for each in planned)
    groups: dict[tuple[int, str], list[PlannedImage]] = defaultdict(list)
    for each in planned:
        if counts[each.source.size, each.source.etag] > 1:
            groups[each.source.size, each.source.etag].append(each)
    return list(groups.values())
