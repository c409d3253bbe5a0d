"""Images before the link: FileMaker's export, the bulk dump in S3, and the expected link.

Nexus has none of them yet. The export is the one of the clinic: tab-separated, CR line ends, no header, the columns
date, fileName, id, id_Contact, Name_of_file, NexusExportDate, recid, Type. The objects are called by `recid`.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fm_pipeline.sandbox.clinic import pictures
from fm_pipeline.sandbox.clinic.model import TODAY, FileRecord, Patient, new_uuid, refer, spell_id
from fm_pipeline.sandbox.clinic.sizes import Sizes

PREFIX = "filemaker-import/images-bulk-dump/"
CATEGORIES = ("Left Dorsal", "Left Medial", "Right Plantar", "Gait – side", "Footwear", "X-ray", "Größenvergleich", "")
FIRST_RECID = 2  # as in the clinic: its first record had been deleted

# A defect of one image each -> the expected outcome of its link; None if it is linked nevertheless.
ODDITIES: Mapping[str, str | None] = {
    "no_date": "no_date",
    "no_patient": "no_patient",
    "patient_unknown": "patient_unknown",
    "no_file": "no_file",
    "empty": "picture_empty",
    "html": "picture_html",
    "broken": "picture_broken",
    "png": None,
    "upper_case": None,
}
STRAYS = ("Thumbs.db", "IMG_0001.jpg")  # objects whose name is no record's


@dataclass(frozen=True)
class LinkedImage:
    """An expected image of the link, as far as it is determined. Size in bytes, pixels as displayed."""

    recid: int
    filemaker_id: str  # lower case
    patient: Patient
    date: dt.date
    category: str
    size: int
    mime_type: str
    width: int
    height: int


@dataclass(frozen=True)
class ExpectedLink:
    """The expected report and result of a link.

    Attributes:
        images: in the order of the export.
        not_linked: reason by recid.
        unnamed: keys of objects that belong to no row of the export.
    """

    rows: int
    images: Sequence[LinkedImage]
    not_linked: Mapping[int, str]
    unnamed: Sequence[str]

    @cached_property
    def batches(self) -> dict[tuple[str, dt.date], list[LinkedImage]]:
        """The images of each batch: a patient (by FileMaker id in lower case) and an exact date."""
        found: dict[tuple[str, dt.date], list[LinkedImage]] = defaultdict(list)
        for image in self.images:
            found[image.patient.key, image.date].append(image)
        return dict(found)

    @property
    def reasons(self) -> Counter[str]:
        """Number of images that are not linked, by reason."""
        return Counter(self.not_linked.values())


@dataclass(frozen=True)
class BulkDump:
    """The images that FileMaker's upload script put into the bulk prefix.

    Attributes:
        records: what FileMaker has of them, in the order of the export.
        odd: what is odd, by recid.
        objects_only: recids of objects whose record is not in the export.
    """

    records: Sequence[FileRecord]
    odd: Mapping[int, str] = field(default_factory=dict)
    objects_only: Sequence[int] = ()

    def export(self) -> bytes:
        """Return FileMaker's export file."""
        return "".join("\t".join(_exported(record)) + "\r" for record in self.records).encode()

    def objects(self) -> Iterator[tuple[str, bytes]]:
        """Yield key and bytes of every object of the bulk dump."""
        for record in self.records:
            if self.odd.get(record.number) != "no_file":
                yield self.key(record.number), self.content(record.number)
        for recid in self.objects_only:
            yield self.key(recid), pictures.jpeg(recid)
        yield from ((PREFIX + name, name.encode()) for name in STRAYS)

    def key(self, recid: int) -> str:
        """Return the key of a record's object."""
        return f"{PREFIX}{recid}.{'JPG' if self.odd.get(recid) == 'upper_case' else 'jpg'}"

    def content(self, recid: int) -> bytes:
        """Return the bytes of a record's object, whatever its name."""
        data = pictures.jpeg(recid)
        match self.odd.get(recid):
            case "empty":
                return b""
            case "html":
                return b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"
            case "broken":
                return data[: len(data) // 2]
            case "png":
                return pictures.png(recid)
            case _:
                return data

    def expected_link(self) -> ExpectedLink:
        """Return the expected link of everything, once the patients are in Nexus."""
        images = []
        not_linked = {}
        for record in self.records:
            oddity = self.odd.get(record.number, "")
            if reason := ODDITIES.get(oddity):
                not_linked[record.number] = reason
                continue
            width, height = pictures.SIZE
            mime_type = "image/png" if oddity == "png" else "image/jpeg"
            images.append(
                LinkedImage(
                    record.number, record.key, record.patient, record.date, record.category,
                    len(self.content(record.number)), mime_type, width, height,
                )
            )  # fmt: skip
        unnamed = [self.key(recid) for recid in self.objects_only] + [PREFIX + name for name in STRAYS]
        return ExpectedLink(len(self.records), images, not_linked, unnamed)


def make_bulk_dump(rng: random.Random, patients: Sequence[Patient], sizes: Sizes) -> tuple[list[FileRecord], BulkDump]:
    """Make FileMaker's image records, in the order of their creation, and the bulk dump of some of them.

    Of the others FileMaker still has to export the file; they are not in the dump and not marked.
    """
    owners = rng.sample(list(patients), sizes.batch_patients)
    owners += rng.choices(owners, k=sizes.batches - len(owners))
    visits: dict[tuple[str, dt.date], Patient] = {}
    for owner in owners:
        day = TODAY - dt.timedelta(days=rng.randrange(3_000))
        while (owner.key, day) in visits:
            day -= dt.timedelta(days=1)
        visits[owner.key, day] = owner
    batches = [(owner, day) for (_, day), owner in visits.items()]
    members = batches + rng.choices(batches, k=sizes.bulk_images - len(batches))
    rng.shuffle(members)
    records = [
        _record(rng, owner, day, number, exported=True) for number, (owner, day) in enumerate(members, FIRST_RECID)
    ]
    odd = _spoil(rng, records)
    waiting = [
        _record(rng, rng.choice(patients), TODAY, number, exported=False)
        for number in range(FIRST_RECID + len(records), FIRST_RECID + sizes.image_records)
    ]
    strays = [record.number for record in waiting[:1]]  # its file was dumped, the mark was not set
    return records + waiting, BulkDump(records, odd, strays)


def _record(rng: random.Random, patient: Patient, day: dt.date, number: int, *, exported: bool) -> FileRecord:
    key = str(new_uuid(rng))
    return FileRecord(
        key=key,
        filemaker_id=spell_id(rng, key),
        patient=patient,
        patient_ref=refer(rng, patient.key),
        category=rng.choice(CATEGORIES),
        date=day,
        number=number,
        exported=exported,
        in_nexus=False,
    )


def _spoil(rng: random.Random, records: Sequence[FileRecord]) -> dict[int, str]:
    """Give one image each a defect. All are in batches with others, so that no batch becomes empty."""
    together: dict[tuple[str, dt.date], list[FileRecord]] = defaultdict(list)
    for record in records:
        together[record.patient.key, record.date].append(record)
    candidates = [of_batch[-1] for of_batch in together.values() if len(of_batch) > 1]
    odd = {}
    for oddity, record in zip(ODDITIES, rng.sample(candidates, len(ODDITIES)), strict=True):
        odd[record.number] = oddity
        match oddity:
            case "no_date":
                record.spelled["date"] = ""
            case "no_patient":
                record.patient_ref = ""
            case "patient_unknown":
                record.patient_ref = spell_id(rng, str(new_uuid(rng)))
    return odd


def _exported(record: FileRecord) -> tuple[str, ...]:
    """Return a row of the export, in the order of its columns."""
    name = f"{record.number}.jpg"
    day = record.spelled.get("date", f"{record.date:%m/%d/%Y}")
    return day, name, record.filemaker_id, record.patient_ref, name, "1", str(record.number), record.category
