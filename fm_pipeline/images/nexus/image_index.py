"""The images that Nexus has already, recognised by everything that may name them, so that none is ever there twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import NamedTuple

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.images.nexus.rows import batch_id, batch_name, image_id
from fm_pipeline.nexus.catalogue.file_ids import file_id_type
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.policy import BATCHES, IMAGES
from fm_pipeline.staging.values.keys import is_uuid

RECID_REUSED = "recid_reused"
RECID_ENTITY = "image_recid"  # entity of the crosswalk: FileMaker's record id of an image -> Nexus id
# A file called by a record id, in the bulk dump or in a patient's folder: how earlier links left it.
_CALLED_BY_RECID = re.compile(r"(?:^|/)([1-9][0-9]{0,17})\.[A-Za-z0-9]{1,5}$")


class NexusImage(NamedTuple):
    """An image of Nexus; `patient_id` is what its batch points to, also if no such patient exists."""

    id: str
    batch_id: str
    patient_id: str | None
    taken: date | None
    s3_key: str = ""


@dataclass(frozen=True)
class ImageIndex:
    """What Nexus has. Ids in lower case."""

    images: Mapping[str, NexusImage]
    by_uuid: Mapping[str, str]
    by_recid: Mapping[int, str]
    by_hint: Mapping[int, str]  # only a file's name, or FileMaker's records by their ids, say so
    batches: Mapping[str, str | None]  # id -> what it points to
    by_name: Mapping[tuple[str | None, str], str]  # (patient, name) -> the oldest batch
    patients: frozenset[str]

    def find(
        self, recid: int | None, filemaker_id: str | None, patient_id: str | None = None, taken: date | None = None
    ) -> NexusImage | None:
        """The image, or None.

        FileMaker numbers its records anew when its file is cloned, so a uuid counts more than a record id. If nothing
        but the record id leads to an image, ask `has_another_uuid` too. A hint is believed only if the batch belongs to
        this patient or to nobody (any more), and neither date nor uuid contradict.
        """
        numbered = self.by_recid.get(recid) if recid is not None else None
        if numbered and numbered in self.images and self.has_another_uuid(self.images[numbered], filemaker_id):
            numbered = (self.by_uuid.get(filemaker_id) if filemaker_id else None) or numbered
        found = (
            numbered
            or (self.by_uuid.get(filemaker_id) if filemaker_id else None)
            or (self._by_own_id(recid, filemaker_id))
        )
        if found:
            return self.images.get(found)
        image = self.images.get(self.by_hint.get(recid, "")) if recid is not None else None
        if image and image.patient_id in self.patients and image.patient_id != patient_id:
            return None
        if image and self.has_another_uuid(image, filemaker_id):
            return None
        return image if image and (image.taken is None or taken in {None, image.taken}) else None

    def has_another_uuid(self, image: NexusImage, filemaker_id: str | None) -> bool:
        """Whether an image carries a uuid, and not the one given: it had the record id before."""
        own = self._uuids.get(image.id, set())
        return bool(own) and filemaker_id is not None and is_uuid(filemaker_id) and filemaker_id not in own

    @cached_property
    def _uuids(self) -> Mapping[str, set[str]]:
        uuids: dict[str, set[str]] = {}
        for key, own_id in self.by_uuid.items():
            if is_uuid(key):
                uuids.setdefault(own_id, set()).add(key)
        return uuids

    def _by_own_id(self, recid: int | None, filemaker_id: str | None) -> str | None:
        own = image_id(recid, filemaker_id)
        return own if own in self.images else None

    def batch_for(self, patient_id: str, patient_key: str, day: date) -> str:
        """The id of the batch that an image of this patient and day belongs to, existing or new."""
        own = batch_id(patient_key, day)
        return own if own in self.batches else self.by_name.get((patient_id, batch_name(day)), own)


def read_image_index(cursor: Cursor, catalogue: Catalogue, bulk_prefix: str) -> ImageIndex:
    """Read what Nexus and the crosswalk know."""
    images, batches = catalogue.table(IMAGES), catalogue.table(BATCHES)
    columns = catalogue.columns[images]
    number = file_id_type(catalogue, IMAGES) == "other"
    batch_columns = catalogue.columns[batches]
    patient = "object_id" if "object_id" in batch_columns else "patient_id"
    name = "name" if "name" in batch_columns else "batch_name"
    made = next(each for each in ("uploaded_at", "created_at", "id") if each in batch_columns)
    taken = next((each for each in ("date_taken", "filemaker_date") if each in columns), None)
    cursor.execute(
        sql.SQL(
            "SELECT i.id::text, i.batch_id::text, b.{patient}::text, {taken}, {key}::text, i.s3_key"
            " FROM {images} i LEFT JOIN {batches} b ON b.id = i.batch_id"
        ).format(
            images=images.identifier,
            batches=batches.identifier,
            patient=sql.Identifier(patient),
            taken=sql.Identifier("i", taken) if taken else sql.SQL("NULL::date"),
            key=sql.Identifier("i", "filemaker_id") if "filemaker_id" in columns else sql.NULL,
        )
    )
    found: dict[str, NexusImage] = {}
    by_uuid: dict[str, str] = {}
    by_recid: dict[int, str] = {}
    by_hint: dict[int, str] = {}
    for own_id, batch, owner, day, key, s3_key in cursor.fetchall():
        found[own_id] = NexusImage(own_id, batch, owner, day, s3_key)
        if key and number:
            by_recid[int(key)] = own_id
        elif key:
            by_uuid[key] = own_id
        if s3_key.startswith((bulk_prefix, "patients/")) and (match := _CALLED_BY_RECID.search(s3_key)):
            by_hint[int(match[1])] = own_id
    cursor.execute(
        "SELECT entity, filemaker_key, nexus_id::text FROM fm_pipeline.crosswalk WHERE entity IN ('image', %s)",
        (RECID_ENTITY,),
    )
    for entity, key, own_id in cursor.fetchall():
        if own_id in found:
            if entity == RECID_ENTITY:
                by_recid[int(key)] = own_id
            else:
                by_uuid.setdefault(key, own_id)
    # What staging has read of FileMaker's image records: a hint, like a file's name.
    cursor.execute("SELECT record_id, filemaker_id::text FROM fm_pipeline.staged_file_links WHERE entity = 'image'")
    for recid, key in cursor.fetchall():
        if key in by_uuid:
            by_hint.setdefault(recid, by_uuid[key])
    cursor.execute(
        sql.SQL("SELECT id::text, {}::text, {} FROM {} ORDER BY {} DESC, id DESC").format(
            sql.Identifier(patient), sql.Identifier(name), batches.identifier, sql.Identifier(made)
        )
    )
    rows = cursor.fetchall()
    cursor.execute(sql.SQL("SELECT id::text FROM {}").format(catalogue.table("patients").identifier))
    return ImageIndex(
        found,
        by_uuid,
        by_recid,
        by_hint,
        {own_id: owner for own_id, owner, _ in rows},
        {(owner, title): own_id for own_id, owner, title in rows},
        frozenset(row[0] for row in cursor.fetchall()),
    )
