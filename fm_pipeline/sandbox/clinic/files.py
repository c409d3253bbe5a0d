"""FileMaker's records of documents and images, and the batches of the images in Nexus."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass

from fm_pipeline.sandbox.clinic.model import TODAY, FileRecord, Patient, new_uuid, refer, spell_id
from fm_pipeline.sandbox.clinic.sizes import Sizes

DOCUMENT_TYPES = ("Referral", "Quote", "Invoice", "Report", "Consent")
IMAGE_TYPES = ("Clinical", "Gait", "Footwear", "X-ray")


@dataclass
class Batch:
    """A batch of images of one patient in Nexus."""

    patient: Patient
    images: list[FileRecord]


def make_documents(rng: random.Random, patients: list[Patient], sizes: Sizes) -> list[FileRecord]:
    """Make FileMaker's document records, including those of files that Nexus does not have."""
    have = [True] * sizes.documents + [False] * (sizes.document_records - sizes.documents)
    rng.shuffle(have)
    return [
        _record(rng, rng.choice(patients), rng.choice(DOCUMENT_TYPES), number, in_nexus)
        for number, in_nexus in enumerate(have, start=1)
    ]


def make_images(rng: random.Random, patients: list[Patient], sizes: Sizes) -> tuple[list[FileRecord], list[Batch]]:
    """Make FileMaker's image records, in the order of their record ids, and the batches that Nexus has."""
    owners = rng.sample(patients, sizes.batch_patients)
    owners += rng.choices(owners, k=sizes.batches - len(owners))
    batches = [Batch(owner, []) for owner in owners]
    members = batches + rng.choices(batches, k=sizes.images - len(batches))
    records = []
    for number, batch in enumerate(members, start=1):
        record = _record(rng, batch.patient, rng.choice(IMAGE_TYPES), number, True)
        batch.images.append(record)
        records.append(record)
    for number in range(sizes.images + 1, sizes.image_records + 1):
        records.append(_record(rng, rng.choice(patients), rng.choice(IMAGE_TYPES), number, False))
    rng.shuffle(records)
    return records, batches


def _record(rng: random.Random, patient: Patient, category: str, number: int, in_nexus: bool) -> FileRecord:
    key = str(new_uuid(rng))
    return FileRecord(
        key=key,
        filemaker_id=spell_id(rng, key),
        patient=patient,
        patient_ref=refer(rng, patient.key),
        category=category,
        date=TODAY - dt.timedelta(days=rng.randrange(3_000)),
        number=number,
        exported=in_nexus or rng.random() < 0.5,
        in_nexus=in_nexus,
    )
