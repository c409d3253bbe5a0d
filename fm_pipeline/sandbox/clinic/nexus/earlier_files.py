"""Documents and image batches in Nexus, some of them orphaned by an earlier reimport.

Every orphan can be repaired (a document by its metadata or by FileMaker's record of it, a batch by FileMaker's
records of its images) but those documents that are lost in the clinic as it was found.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Sequence

from fm_pipeline.sandbox.clinic.files import Batch
from fm_pipeline.sandbox.clinic.model import EARLIER_IMPORT, FileRecord, Patient, new_uuid, spell_id
from fm_pipeline.sandbox.clinic.nexus.state import State
from fm_pipeline.sandbox.clinic.nexus.system import PATIENT_TYPE
from fm_pipeline.sandbox.clinic.sizes import Sizes

BUCKET = "nexus-files"


class RetiredIds:
    """Ids that patients had in Nexus before an earlier reimport gave them new ones."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ids: dict[str, uuid.UUID] = {}

    def of(self, patient: Patient) -> uuid.UUID:
        """Return a patient's earlier id, the same for all files of the patient."""
        return self._ids.setdefault(patient.key, new_uuid(self._rng))


def add_documents(
    state: State, rng: random.Random, records: Sequence[FileRecord], retired: RetiredIds, sizes: Sizes
) -> None:
    """Add the documents of Nexus; `sizes.orphaned_documents` of them refer to an id that no patient has."""
    present = [record for record in records if record.in_nexus]
    orphans = _orphans(rng, [record.patient for record in present], sizes.orphaned_documents)
    for number, record in enumerate(present):
        name = f"{record.category.lower()}-{number}.pdf"
        key = f"documents/{record.key}/{name}"
        state["documents_document"].add(
            id=new_uuid(rng), content_type_id=PATIENT_TYPE,
            object_id=_owner(rng, record, retired if number in orphans else None),
            file_name=name, original_name=name, file_size=rng.randrange(20_000, 4_000_000) // 20_000 + 50,
            mime_type="application/pdf", s3_bucket=BUCKET, s3_key=key, s3_url=f"s3://{BUCKET}/{key}",
            category=record.category, description="", tags=[], uploaded_by="import", uploaded_at=EARLIER_IMPORT,
            document_date=record.date, updated_at=EARLIER_IMPORT, is_active=True,
            filemaker_id=uuid.UUID(record.key), filemaker_metadata=_metadata(rng, number, record),
        )  # fmt: skip


def document_content(document_id: uuid.UUID, size: int) -> bytes:
    """Return the file of a document. It is small, and has the size that its row says: at least 50 bytes."""
    return f"%PDF-1.4 {document_id}\n".encode().ljust(size)


def _owner(rng: random.Random, record: FileRecord, retired: RetiredIds | None) -> uuid.UUID | None:
    """Return the id that a document refers to; for a lost one an id of no patient."""
    if record.lost:
        return new_uuid(rng)
    return retired.of(record.patient) if retired else record.patient.nexus_id


def _metadata(rng: random.Random, number: int, record: FileRecord) -> dict[str, object] | None:
    """Return a document's metadata; three of four contain the patient's id, the others do not."""
    if record.lost:
        return {"filemaker_patient_id": record.named, "doc_type": record.category}
    if number % 4:
        return {"filemaker_patient_id": spell_id(rng, record.patient.key), "doc_type": record.category}
    silent: tuple[dict[str, object] | None, ...] = (
        None,
        {},
        {"filemaker_patient_id": "", "doc_type": record.category},
        {"source": "FileMaker"},
    )
    return silent[number // 4 % 4]


def add_batches(state: State, rng: random.Random, batches: Sequence[Batch], retired: RetiredIds, sizes: Sizes) -> None:
    """Add batches and their images; `sizes.orphaned_batches` of them refer to an id that no patient has."""
    orphans = _orphans(rng, [batch.patient for batch in batches], sizes.orphaned_batches)
    for number, batch in enumerate(batches):
        patient = batch.patient
        batch_id = new_uuid(rng)
        uploaded = EARLIER_IMPORT + dt.timedelta(seconds=number)
        state["images_batch"].add(
            id=batch_id, content_type_id=PATIENT_TYPE,
            object_id=retired.of(patient) if number in orphans else patient.nexus_id,
            name=f"Images {batch.images[0].date:%d/%m/%Y}", description="", uploaded_by_id=1, uploaded_at=uploaded,
            image_count=len(batch.images),
        )  # fmt: skip
        for order, image in enumerate(batch.images):
            key = f"images/{batch_id}/{image.number}.jpg"
            state["images_image"].add(
                id=new_uuid(rng), batch_id=batch_id, s3_key=key, s3_thumbnail_key=f"thumbs/{key}",
                original_name=f"IMG_{image.number:05d}.JPG", file_size=rng.randrange(90_000, 6_000_000),
                thumbnail_size=9_000, mime_type="image/jpeg", width=3_024, height=4_032, category=image.category,
                caption="", date_taken=image.date, uploaded_by_id=1, uploaded_at=uploaded,
                filemaker_id=uuid.UUID(image.key), order=order,
            )  # fmt: skip


def _orphans(rng: random.Random, patients: Sequence[Patient], count: int) -> set[int]:
    """Return the positions of orphans: those of patients that Nexus does not have, and others up to the number."""
    forced = [n for n, patient in enumerate(patients) if patient.nexus_id is None]
    others = [n for n, patient in enumerate(patients) if patient.nexus_id is not None]
    return {*forced, *rng.sample(others, max(0, count - len(forced)))}
