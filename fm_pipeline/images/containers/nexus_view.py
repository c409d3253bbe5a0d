"""A view of Nexus for the import: the patient of a record, whether its image exists, and where its file is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from fm_pipeline.images.containers.source import SourceImage
from fm_pipeline.images.nexus.batch_and_image_values import (
    CATEGORY_COLUMNS,
    check_columns,
    check_ids,
    needs_record_id,
    text_limit,
)
from fm_pipeline.images.nexus.image_index import RECID_REUSED, ImageIndex, NexusImage
from fm_pipeline.images.nexus.patient_index import NO_REFERENCE, PatientIndex, PatientMatch
from fm_pipeline.images.nexus.snapshot import NexusSnapshot, read_snapshot
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.table_names import IMAGES
from fm_pipeline.settings import Settings
from fm_pipeline.staging.values.keys import is_uuid


class ImageRow(NamedTuple):
    """An image of Nexus: the key and expected size of its file, and the patient of its batch."""

    s3_key: str
    size: int | None
    patient_id: str | None


@dataclass(frozen=True)
class ImageToImport:
    """The image is new and will be imported.

    Attributes:
        recid: None if its record id was another image's.
    """

    patient: PatientMatch
    batch_id: str
    recid: int | None


@dataclass(frozen=True)
class ImageInNexus:
    """Nexus already has the image."""

    image_id: str


class NexusView:
    """Patients and images of Nexus at the time of `refresh`.

    Args:
        connection: for reading only.
        written: the caller writes images into Nexus, so columns that no rule fills are refused.
    """

    patients: PatientIndex
    known: ImageIndex
    catalogue: Catalogue
    snapshot: NexusSnapshot | None = None

    def __init__(self, connection: Connection, settings: Settings, *, written: bool = True) -> None:
        self._connection = connection
        self._settings = settings
        self._check = check_columns if written else check_ids
        self.refresh()

    def refresh(self) -> None:
        """Read tables again that have changed.

        Raises:
            CatalogueStop: the release needs columns that no rule fills, if images are written; or see `check_ids`.
        """
        with self._connection.cursor() as cursor:
            self.catalogue = read_catalogue(cursor, self._settings.nexus_schema)
            self._check(self.catalogue)
            prefix, before = self._settings.s3_bulk_prefix, self.snapshot
            now = (
                before.refreshed(cursor, self.catalogue, prefix)
                if before
                else read_snapshot(cursor, self.catalogue, prefix)
            )
        self._connection.rollback()
        self.snapshot, self.patients, self.known = now, now.patients, now.known

    def row(self, image_id: str) -> ImageRow | None:
        """Return the current row of an image."""
        table = self.catalogue.table(IMAGES)
        size = sql.Identifier("file_size") if "file_size" in self.catalogue.columns[table] else sql.NULL
        with self._connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("SELECT s3_key, {}, batch_id::text FROM {} WHERE id = %s").format(size, table.identifier),
                (image_id,),
            )
            found = cursor.fetchone()
        self._connection.rollback()
        if found is None:
            return None
        known = self.known.images.get(image_id)
        return ImageRow(found[0], found[1], known.patient_id if known else self.known.batches.get(found[2]))

    def decide(self, image: SourceImage) -> ImageToImport | ImageInNexus | str:
        """Decide about a record without a mark: import it, only mark it, or skip it for a reason."""
        patient = self.patient_of(image)
        if isinstance(patient, str):
            return patient
        filemaker_id = image.key if is_uuid(image.key) else None
        known = self.known.find(image.recid, filemaker_id, patient.nexus_id, image.taken)
        if known and self.known.has_another_recid(known, image.recid):
            return "id_twice"  # the image came from another record with this id
        if known and not self.known.has_another_uuid(known, filemaker_id):
            return self._existing(known, patient)
        if known and (image.recid != image.record_id or not self._may_be_null):
            # A number of a field, in which two records have it; or FileMaker has given its own number again.
            return "id_twice" if image.recid != image.record_id else RECID_REUSED
        is_reused = self._may_be_null and self.known.is_number_of_another(image.recid, filemaker_id)
        return self._new(image, patient, recid=None if is_reused else image.recid)

    def _existing(self, known: NexusImage, patient: PatientMatch) -> ImageInNexus | str:
        if known.patient_id == patient.nexus_id:
            return ImageInNexus(known.id)
        return "linked_to_another_patient" if known.patient_id in self.known.patients else "batch_orphaned"

    @property
    def _may_be_null(self) -> bool:
        """Whether Nexus takes an image without its record id, which FileMaker may have given again."""
        return not needs_record_id(self.catalogue.columns[self.catalogue.table(IMAGES)])

    def _new(self, image: SourceImage, patient: PatientMatch, *, recid: int | None) -> ImageToImport | str:
        if image.taken is None:
            return "date_unreadable" if image.has_date else "no_date"
        if not image.containers:
            return "all_containers_empty"
        limits = [text_limit(self.catalogue, self.catalogue.table(IMAGES), name) for name in CATEGORY_COLUMNS]
        if any(limit is not None and len(image.category) > limit for limit in limits):
            return "category_too_long"
        return ImageToImport(patient, self.known.batch_for(patient.nexus_id, patient.key, image.taken), recid)

    def patient_of(self, image: SourceImage) -> PatientMatch | str:
        """Return the patient whom the record names, or the reason why there is none.

        The first field that is not empty counts (docs/mapping.md); the others may not name somebody else.
        """
        found = [self.patients.resolve(reference) for reference in image.patients]
        if not found:
            return NO_REFERENCE
        people = {each.nexus_id for each in found if not isinstance(each, str)}
        return "two_patients" if len(people) > 1 else found[0]
