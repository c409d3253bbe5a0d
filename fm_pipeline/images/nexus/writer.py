"""Write batches and images to Nexus in one short transaction. It excludes a reimport; the later of the two waits.

Used as:

    with writing_images(settings) as writer:
        written = writer.write(images, now)
        writer.cursor.execute(...)   # the caller's own ledger, in the same transaction
    # committed here
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from fm_pipeline.db.commit import commit
from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import explain_lock_timeouts, lock_tables, wait_for_reimport_lock
from fm_pipeline.db.queries import column_list
from fm_pipeline.db.table import Column, Table
from fm_pipeline.images.nexus.batch_and_image_values import NewImage, batch_values, check_columns, image_values
from fm_pipeline.images.nexus.image_index import RECID_ENTITY, RECID_REUSED
from fm_pipeline.images.nexus.patient_index import PatientMatch
from fm_pipeline.images.nexus.repair_batches import BatchRepair, repair_batches
from fm_pipeline.images.nexus.snapshot import NexusSnapshot, read_snapshot
from fm_pipeline.images.nexus.written_rows import PAGE_SIZE, check_counts, check_rows_written
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.checks import Check, raise_if_failed
from fm_pipeline.nexus.reimport.other_writes import check_nothing_else_written, parse_trigger_tables, read_table_states
from fm_pipeline.nexus.reimport.relink import patient_content_type
from fm_pipeline.nexus.table_names import BATCHES, IMAGES
from fm_pipeline.settings import Settings

BATCH_OF_ANOTHER_PATIENT = "batch_of_another_patient"


@dataclass(frozen=True)
class WriteResult:
    """The result of `write`.

    Attributes:
        image_ids: Nexus ids by position in the given sequence, of images that are in Nexus now.
        inserted: positions of new images.
        refused: reasons by position, of images that are not in Nexus.
        batches_created: Nexus ids of new batches.
    """

    image_ids: Mapping[int, str] = field(default_factory=dict)
    inserted: Sequence[int] = ()
    refused: Mapping[int, str] = field(default_factory=dict)
    batches_created: Sequence[str] = ()


@contextmanager
def writing_images(settings: Settings, before: NexusSnapshot | None = None) -> Iterator[ImageWriter]:
    """Open a transaction with its locks; it is committed at the end of the block, and rolled back on an error.

    Args:
        before: patients and images as they were read last; None: they are read before the locks. Under the locks they
            are confirmed, and read again only if somebody has written meanwhile.

    Raises:
        LockStop: a reimport runs, or a user holds the tables, for longer than NEXUS_LOCK_TIMEOUT_SECONDS.
        CatalogueStop: the release needs columns that no rule fills.
        ValidationStop: a trigger wrote to another table, or the new rows are not as they were written.
        DatabaseError: the connection was lost; see `commit`.
    """
    url = settings.nexus_database_url.get_secret_value()
    timeout = settings.nexus_lock_timeout_seconds
    with connect(url) as gate, connect(url) as connection:
        wait_for_reimport_lock(gate, timeout)
        with connection.cursor() as cursor:
            catalogue = read_catalogue(cursor, settings.nexus_schema)
            check_columns(catalogue)
            tables = [catalogue.table(BATCHES), catalogue.table(IMAGES)]
            growing = parse_trigger_tables(catalogue, settings.nexus_trigger_tables)
            before = before or read_snapshot(cursor, catalogue, settings.s3_bulk_prefix)
            connection.commit()
            with explain_lock_timeouts(connection, gate, [catalogue.table("patients"), *tables], timeout):
                lock_tables(cursor, tables, timeout)
                forms = read_table_states(cursor)
                writer = ImageWriter(cursor, catalogue, settings, before)
                yield writer
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                raise_if_failed([*writer.finish(), check_nothing_else_written(cursor, forms, tables, growing)])
        commit(connection, url)


@dataclass
class ImageWriter:
    """Inside the transaction of `writing_images`."""

    cursor: Cursor
    catalogue: Catalogue
    settings: Settings
    _snapshot: NexusSnapshot
    _written: dict[Table, list[Mapping[str, object]]] = field(default_factory=dict)

    def snapshot(self) -> NexusSnapshot:
        """Return a current snapshot of patients and images, including writes of this transaction."""
        self._snapshot = self._snapshot.refreshed(self.cursor, self.catalogue, self.settings.s3_bulk_prefix)
        return self._snapshot

    def repair_batches(self) -> BatchRepair:
        """Repair batches that refer to no existing patient, as in phase 7 of a reimport."""
        now = self.snapshot()
        return repair_batches(self.cursor, self.catalogue, now.patients, now.known)

    def write(self, images: Sequence[NewImage], now: datetime) -> WriteResult:
        """Insert the images that Nexus does not have. Decisions made before the locks are checked again.

        Args:
            images: in their order within a batch; they follow the images that it has.
        """
        snapshot = self.snapshot()
        patients, known = snapshot.patients, snapshot.known
        ids: dict[int, str] = {}
        refused: dict[int, str] = {}
        new: list[int] = []
        owners: dict[str, PatientMatch] = {}
        taken: set[str] = set()
        shown: set[str] = set()
        for position, image in enumerate(images):
            patient = patients.resolve(image.patient)
            if isinstance(patient, str):
                refused[position] = patient
                continue
            found = known.find(image.recid, image.filemaker_id, patient.nexus_id, image.taken)
            if found and known.has_another_uuid(found, image.filemaker_id):
                refused[position] = RECID_REUSED
            elif found or image.id in taken:
                ids[position] = found.id if found else image.id
            elif patient.nexus_id != known.batches.get(
                image.batch_id, owners.setdefault(image.batch_id, patient).nexus_id
            ):
                refused[position] = BATCH_OF_ANOTHER_PATIENT
            else:
                taken.add(image.id)
                ids[position] = image.id
                new.append(position)
                shown.add(patient.nexus_id)
        self._hold(shown)
        created = self._insert_batches([images[n] for n in new], owners, known.batches, now)
        self._insert_images([images[n] for n in new], now)
        self._remember([(images[n], ids[n]) for n in ids])
        return WriteResult(ids, new, refused, created)

    def _hold(self, patients: set[str]) -> None:
        """Lock the patients, so that none is deleted meanwhile: no constraint would prevent that."""
        self.cursor.execute(
            sql.SQL("SELECT 1 FROM {} WHERE id = ANY(%s::uuid[]) ORDER BY id FOR KEY SHARE").format(
                self.catalogue.table("patients").identifier
            ),
            (sorted(patients),),
        )

    def _insert_batches(
        self, images: Sequence[NewImage], owners: Mapping[str, PatientMatch], existing: Container[str], now: datetime
    ) -> list[str]:
        patient_type = patient_content_type(self.cursor, self.catalogue)
        new = {image.batch_id: image.taken for image in images if image.batch_id not in existing}
        rows = [batch_values(key, patient_type, owners[key].nexus_id, day, now) for key, day in new.items()]
        self._insert(self.catalogue.table(BATCHES), rows)
        return list(new)

    def _insert_images(self, images: Sequence[NewImage], now: datetime) -> None:
        table = self.catalogue.table(IMAGES)
        touched = sorted({image.batch_id for image in images})
        orders: Counter[str] = Counter()
        types = {name: column.type for name, column in self.catalogue.columns[table].items()}
        if "order" in types:
            self.cursor.execute(
                sql.SQL(
                    'SELECT batch_id::text, max("order") + 1 FROM {} WHERE batch_id = ANY(%s::uuid[]) GROUP BY 1'
                ).format(table.identifier),
                (touched,),
            )
            orders.update(dict(self.cursor.fetchall()))
        rows = []
        for image in images:
            bucket = self.settings.s3_bucket or ""
            rows.append(image_values(image, orders[image.batch_id], types, bucket, now))
            orders[image.batch_id] += 1
        self._insert(table, rows)

    def finish(self) -> Iterator[Check]:
        """Count the images of the batches, when deferred triggers have run, and yield a check for each table."""
        images, batches = self.catalogue.table(IMAGES), self.catalogue.table(BATCHES)
        for table, rows in self._written.items():
            yield check_rows_written(self.cursor, table, self.catalogue.columns[table], rows)
        touched = sorted({str(row["batch_id"]) for row in self._written.get(images, ())})
        if touched and "image_count" in self.catalogue.columns[batches]:
            self.cursor.execute(
                sql.SQL(
                    "UPDATE {batches} b SET image_count = c.images FROM (SELECT batch_id, count(*) AS images"
                    " FROM {table} WHERE batch_id = ANY(%s::uuid[]) GROUP BY 1) c WHERE c.batch_id = b.id"
                ).format(batches=batches.identifier, table=images.identifier),
                (touched,),
            )
            yield check_counts(self.cursor, batches, images, touched)

    def _insert(self, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert rows, with the columns that this release has and that PostgreSQL does not compute."""
        if not rows:
            return
        columns = self.catalogue.columns[table]
        names = [name for name in rows[0] if name in columns and not columns[name].generated]
        rows = [{name: self._in_type(row[name], columns[name]) for name in names} for row in rows]
        statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES %s").format(
            table.identifier, column_list(names)
        )
        execute_values(self.cursor, statement, [[row[name] for name in names] for row in rows], page_size=PAGE_SIZE)
        self._written.setdefault(table, []).extend(rows)

    def _in_type(self, value: object, column: Column) -> object:
        """Return a value for a column. A day is its midnight in the clinic where the column is a time with a zone."""
        if type(value) is date and column.is_instant:
            return datetime.combine(value, time(), ZoneInfo(self.settings.clinic_time_zone))
        return value

    def _remember(self, images: Sequence[tuple[NewImage, str]]) -> None:
        """The crosswalk: record id and uuid -> Nexus id."""
        rows = [(RECID_ENTITY, str(image.recid), own_id) for image, own_id in images if image.recid is not None]
        rows += [("image", image.filemaker_id, own_id) for image, own_id in images if image.filemaker_id]
        if rows:
            execute_values(
                self.cursor,
                "INSERT INTO fm_pipeline.crosswalk (entity, filemaker_key, nexus_id, origin)"
                " SELECT entity, key, id::uuid, 'link' FROM (VALUES %s) v (entity, key, id) ON CONFLICT DO NOTHING",
                rows,
                page_size=PAGE_SIZE,
            )
