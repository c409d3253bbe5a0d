"""An index of the images in Nexus by every id that may name them, so that no image is created twice."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.row_versions import later_than
from fm_pipeline.db.table import Column
from fm_pipeline.images.nexus.batch_and_image_values import batch_id, batch_name, image_id
from fm_pipeline.images.nexus.overlay_mapping import K, OverlayMapping, V
from fm_pipeline.nexus.catalogue.file_ids import file_id_type
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.table_names import BATCHES, IMAGES
from fm_pipeline.settings import load_clinic_time_zone
from fm_pipeline.staging.values.keys import is_uuid

RECID_REUSED = "recid_reused"
RECID_ENTITY = "image_recid"  # entity of the crosswalk: FileMaker's record id of an image -> Nexus id
# A file called by a record id, in the bulk dump or in a patient's folder: how earlier links left it.
_CALLED_BY_RECID = re.compile(r"(?:^|/)([1-9][0-9]{0,17})\.[A-Za-z0-9]{1,5}$")


class NexusImage(NamedTuple):
    """An image of Nexus.

    Attributes:
        patient_id: what its batch points to, also if no such patient exists.
        taken: the day; of a time, the day in the clinic's zone.
        taken_in_utc: of a time, the day in UTC: nobody knows whose midnight it is.
    """

    id: str
    batch_id: str
    patient_id: str | None
    taken: date | None
    s3_key: str = ""
    taken_in_utc: date | None = None


@dataclass(frozen=True)
class ImageIndex:
    """The images, batches and patients of Nexus. Ids are in lower case.

    Attributes:
        uuid_of, recid_of: by the id of an image, one of the uuids and of the record ids by which it is found. `uuid_of`
            also has images that Nexus had.
    """

    images: Mapping[str, NexusImage]
    by_uuid: Mapping[str, str]
    uuid_of: Mapping[str, str] = field(compare=False)
    by_recid: Mapping[int, str]
    recid_of: Mapping[str, int] = field(compare=False)
    by_hint: Mapping[int, str]  # only a file's name, or FileMaker's records by their ids, say so
    batches: Mapping[str, str | None]  # id -> what it points to
    by_name: Mapping[tuple[str | None, str], str]  # (patient, name) -> the oldest batch
    patients: frozenset[str]
    gone_uuids: Mapping[str, str]  # of images that Nexus had
    gone_recids: Mapping[int, str]

    def find(
        self, recid: int | None, filemaker_id: str | None, patient_id: str | None = None, taken: date | None = None
    ) -> NexusImage | None:
        """The image, or None.

        A clone of FileMaker's file may number its records anew, so a uuid takes precedence over a record id. If only
        the record id identifies an image, call `has_another_uuid` too. A hint counts only if the batch belongs to this
        patient or to no existing patient, and neither date nor uuid contradict it.
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
        return image if image and (image.taken is None or taken in {None, image.taken, image.taken_in_utc}) else None

    def has_another_uuid(self, image: NexusImage, filemaker_id: str | None) -> bool:
        """Whether an image has a uuid, but not the given one: then its record id was reused."""
        return self._has_others(image.id, filemaker_id)

    def is_number_of_another(self, recid: int, filemaker_id: str | None) -> bool:
        """Whether a record id is or was that of an image with another uuid, also of one that Nexus no longer has.

        FileMaker gives a record id again after its file was cloned or restored from a backup. A hint does not count.
        """
        owner = self.by_recid.get(recid) or self.gone_recids.get(recid, "")
        return self._has_others(owner, filemaker_id)

    def _has_others(self, own_id: str, filemaker_id: str | None) -> bool:
        if own_id not in self.uuid_of or filemaker_id is None or not is_uuid(filemaker_id):
            return False
        return own_id not in {self.by_uuid.get(filemaker_id), self.gone_uuids.get(filemaker_id)}

    def has_another_recid(self, image: NexusImage, recid: int) -> bool:
        """Whether an image has a record id, but not the given one."""
        return image.id in self.recid_of and self.by_recid.get(recid) != image.id

    def _by_own_id(self, recid: int | None, filemaker_id: str | None) -> str | None:
        own = image_id(recid, filemaker_id)
        return own if own in self.images else None

    def batch_for(self, patient_id: str, patient_key: str, day: date) -> str:
        """Return the id of the batch for a patient and day, existing or new."""
        own = batch_id(patient_key, day)
        return own if own in self.batches else self.by_name.get((patient_id, batch_name(day)), own)


def _days(taken: Column | None) -> tuple[sql.Composable, sql.Composable]:
    """Return the day of an image in the clinic's zone and, of a time with a zone, the day in UTC."""
    none = sql.SQL("NULL::date")
    if taken is None:
        return none, none
    column = sql.Identifier("i", taken.name)
    if taken.is_instant:
        day = sql.SQL("({} AT TIME ZONE {})::date")
        return day.format(column, sql.Literal(load_clinic_time_zone())), day.format(column, sql.Literal("UTC"))
    return (sql.SQL("{}::date").format(column) if taken.type.startswith("timestamp") else column), none


def read_image_index(cursor: Cursor, catalogue: Catalogue, bulk_prefix: str) -> ImageIndex:
    """Read the images and batches of Nexus, and everything that names them."""
    index = _Builder(cursor, catalogue)
    index.read_images(bulk_prefix)
    index.read_crosswalk()
    index.read_staged_links()
    index.read_batches()
    cursor.execute(sql.SQL("SELECT id::text FROM {}").format(catalogue.table("patients").identifier))
    return index.built(frozenset(row[0] for row in cursor.fetchall()))


def read_additions(
    cursor: Cursor, catalogue: Catalogue, bulk_prefix: str, before: ImageIndex, since: str
) -> ImageIndex | None:
    """Return what `read_image_index` returns, by reading only what was added to an earlier index.

    Args:
        before: the index. Nothing was written since to patients and FileMaker's staged records. To images and the
            crosswalk, rows were only added.
        since: a transaction id; every later write has it or a later one.

    Returns:
        The index. None if it has to be read anew: an addition has an id that was there, a batch has another name or
        patient, or the crosswalk has an id for another image than Nexus.
    """
    index = _Builder(cursor, catalogue, since)
    index.read_images(bulk_prefix)
    index.read_batches()
    if not index.only_adds_to(before):
        return None
    images, uuids = list(index.images), list(index.by_uuid)
    index.add_to(before)
    uuids += index.read_crosswalk(images)
    if index.moved:
        return None
    index.read_staged_links(uuids)
    return index.built(before.patients, before)


class _Builder:
    """Collects the parts of an index from one table after the other.

    Args:
        since: a transaction id, to read only rows that it or a later one has written; None to read all.
    """

    def __init__(self, cursor: Cursor, catalogue: Catalogue, since: str | None = None) -> None:
        self._cursor, self._catalogue, self._since = cursor, catalogue, since
        self._batch_columns = catalogue.columns[catalogue.table(BATCHES)]
        self._patient = sql.Identifier("object_id" if "object_id" in self._batch_columns else "patient_id")
        self.images: MutableMapping[str, NexusImage] = {}
        self.by_uuid: MutableMapping[str, str] = {}
        self.by_recid: MutableMapping[int, str] = {}
        self.by_hint: MutableMapping[int, str] = {}
        self.batches: MutableMapping[str, str | None] = {}
        self.by_name: MutableMapping[tuple[str | None, str], str] = {}
        self.gone_uuids: MutableMapping[str, str] = {}
        self.gone_recids: MutableMapping[int, str] = {}
        self.moved = False  # whether the crosswalk gives an id of one image to another

    def built(self, patients: frozenset[str], before: ImageIndex | None = None) -> ImageIndex:
        """Return the index.

        Args:
            before: the index that was added.
        """
        uuid_of: MutableMapping[str, str] = OverlayMapping(before.uuid_of) if before else {}
        for uuids in (self.gone_uuids, self.by_uuid):
            uuid_of.update({own_id: key for key, own_id in _added(uuids).items() if is_uuid(key)})
        recid_of: MutableMapping[str, int] = OverlayMapping(before.recid_of) if before else {}
        recid_of.update({own_id: recid for recid, own_id in _added(self.by_recid).items()})
        return ImageIndex(
            self.images,
            self.by_uuid,
            uuid_of,
            self.by_recid,
            recid_of,
            self.by_hint,
            self.batches,
            self.by_name,
            patients,
            self.gone_uuids,
            self.gone_recids,
        )

    def only_adds_to(self, before: ImageIndex) -> bool:
        """Whether no image has an id that was there, and every batch is new or called as before."""
        return (
            not any(own_id in before.images for own_id in self.images)
            and not any(key in before.by_uuid for key in self.by_uuid)
            and not any(recid in before.by_recid for recid in self.by_recid)
            and not any(recid in before.by_hint for recid in self.by_hint)
            and len(self.by_name) == len(self.batches)  # no two have one name
            and all(
                before.by_name.get(name) == (own_id if own_id in before.batches else None)
                for name, own_id in self.by_name.items()
            )
        )

    def add_to(self, before: ImageIndex) -> None:
        """Add an earlier index, to which this one `only_adds_to`. It is not copied: an import adds each batch."""
        self.images = _grown(before.images, self.images)
        self.by_uuid = _grown(before.by_uuid, self.by_uuid)
        self.by_recid = _grown(before.by_recid, self.by_recid)
        self.by_hint = _grown(before.by_hint, self.by_hint)
        self.batches = _grown(before.batches, self.batches)
        self.by_name = _grown(before.by_name, self.by_name)
        self.gone_uuids = OverlayMapping(before.gone_uuids)
        self.gone_recids = OverlayMapping(before.gone_recids)

    def _which(self, alias: str) -> sql.Composable:
        return later_than(self._since, alias) if self._since else sql.SQL("true")

    def read_images(self, bulk_prefix: str) -> None:
        """Read the rows of images: their ids, and the record ids that their files are called by."""
        table = self._catalogue.table(IMAGES)
        columns = self._catalogue.columns[table]
        holds_recid = file_id_type(self._catalogue, IMAGES) == "other"
        taken = next((columns[each] for each in ("date_taken", "filemaker_date") if each in columns), None)
        day, in_utc = _days(taken)
        self._cursor.execute(
            sql.SQL(
                "SELECT i.id::text, i.batch_id::text, b.{patient}::text, {day}, {in_utc}, {key}::text, i.s3_key"
                " FROM {images} i LEFT JOIN {batches} b ON b.id = i.batch_id WHERE {which}"
            ).format(
                which=self._which("i"),
                images=table.identifier,
                batches=self._catalogue.table(BATCHES).identifier,
                patient=self._patient,
                day=day,
                in_utc=in_utc,
                key=sql.Identifier("i", "filemaker_id") if "filemaker_id" in columns else sql.NULL,
            )
        )
        for own_id, batch, owner, own_day, in_utc_too, key, s3_key in self._cursor.fetchall():
            self.images[own_id] = NexusImage(own_id, batch, owner, own_day, s3_key, in_utc_too)
            if key and holds_recid:
                self.by_recid[int(key)] = own_id
            elif key:  # a text in any spelling
                self.by_uuid[key.strip().lower()] = own_id
            if s3_key.startswith((bulk_prefix, "patients/")) and (match := _CALLED_BY_RECID.search(s3_key)):
                self.by_hint[int(match[1])] = own_id

    def read_crosswalk(self, images: Sequence[str] = ()) -> list[str]:
        """Read the ids that earlier runs have stored; also older rows, if they are of one of these images.

        Returns:
            The uuids that were not known before.
        """
        self._cursor.execute(
            sql.SQL(
                "SELECT entity, filemaker_key, nexus_id::text FROM fm_pipeline.crosswalk c"
                " WHERE entity IN ('image', %s) AND ({which} OR nexus_id = ANY(%s::uuid[]))"
            ).format(which=self._which("c")),
            (RECID_ENTITY, list(images)),
        )
        uuids = []
        for entity, key, own_id in self._cursor.fetchall():
            if entity == RECID_ENTITY:
                if self._is_here(int(key), own_id, self.by_recid, self.gone_recids):
                    self.by_recid[int(key)] = own_id
            elif self._is_here(key, own_id, self.by_uuid, self.gone_uuids) and key not in self.by_uuid:
                self.by_uuid[key] = own_id
                uuids.append(key)
        return uuids

    def _is_here(self, key: K, own_id: str, known: Mapping[K, str], gone: MutableMapping[K, str]) -> bool:
        """Whether Nexus has the image of an id of the crosswalk. If not, it had the image."""
        if own_id not in self.images:
            gone[key] = own_id
            return False
        self.moved |= known.get(key, own_id) != own_id
        gone.pop(key, None)
        return True

    def read_staged_links(self, uuids: Sequence[str] | None = None) -> None:
        """Read FileMaker's staged image records. Their record ids are a hint, like the name of a file.

        Args:
            uuids: only records with these ids; None for all.
        """
        self._cursor.execute(
            "SELECT record_id, filemaker_id::text FROM fm_pipeline.staged_file_links WHERE entity = 'image'"
            " AND (%(uuids)s::text[] IS NULL OR filemaker_id::text = ANY(%(uuids)s))",
            {"uuids": uuids},
        )
        for recid, key in self._cursor.fetchall():
            if key in self.by_uuid:
                self.by_hint.setdefault(recid, self.by_uuid[key])

    def read_batches(self) -> None:
        """Read the batches, the newest first, so that of two with one name the oldest is found by it."""
        name = "name" if "name" in self._batch_columns else "batch_name"
        created = next(each for each in ("uploaded_at", "created_at", "id") if each in self._batch_columns)
        self._cursor.execute(
            sql.SQL("SELECT id::text, {}::text, {} FROM {} b WHERE {} ORDER BY {} DESC, id DESC").format(
                self._patient,
                sql.Identifier(name),
                self._catalogue.table(BATCHES).identifier,
                self._which("b"),
                sql.Identifier(created),
            )
        )
        for own_id, owner, called in self._cursor.fetchall():
            self.batches[own_id] = owner
            self.by_name[owner, called] = own_id


def _added(items: Mapping[K, V]) -> Mapping[K, V]:
    """Return the items that were added to an earlier index; all, if there is none."""
    return items.added if isinstance(items, OverlayMapping) else items


def _grown(before: Mapping[K, V], added: Mapping[K, V]) -> MutableMapping[K, V]:
    grown = OverlayMapping(before)
    grown.update(added)
    return grown
