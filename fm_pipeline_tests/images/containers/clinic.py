"""A clinic with pictures in FileMaker's containers: Nexus, the stand-in and a bucket, all real, all small."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2

from fm_pipeline.filemaker.connect import open_client
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.paging import read_completely
from fm_pipeline.images.containers.import_images import Callbacks, import_images
from fm_pipeline.images.containers.report import ImportReport
from fm_pipeline.sandbox.clinic.fill import fill_nexus
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount, StoredContainerFile
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline.settings import Settings, load_settings
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import small_clinic
from fm_pipeline_tests.support.pictures import picture

SCALE = 0.003  # a handful of patients
DATABASE, USER, PASSWORD = "clinic", "pipeline", "a password of the tests"
CONTAINERS = ("image_Full", "image_Ex_large", "image_large", "image_medium", "image_small")
TABLE, LAYOUT = "Images", "API_Images"
FIELDS = (
    *(
        FieldDefinition("id"),
        FieldDefinition("patient_id"),
        FieldDefinition("second_patient_id"),
        FieldDefinition("recid", "number"),
        FieldDefinition("date", "date"),
    ),
    *(FieldDefinition("Type"), FieldDefinition("NexusExportDate", "timestamp")),
    *(FieldDefinition(name, "container") for name in CONTAINERS),
)


@dataclass
class ImageClinic:
    """All three systems, filled, and the settings that point at them.

    Attributes:
        patients: (Nexus id, FileMaker id) of each.
        paused: seconds that the runs would have slept.
    """

    settings: Settings
    stand_in: StandIn
    store: Store
    bucket: BucketBench
    patients: list[tuple[str, str]]
    paused: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def add(self, number: int, **changes: Any) -> str:
        """An image record with a picture of its own; its record ids count from 1. Returns its FileMaker id.

        Args:
            changes: other values of fields; a container given as bytes becomes a JPEG file.
        """
        own_id = str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))
        row: dict[str, Any] = {
            "id": own_id.upper(),
            "patient_id": self.patients[number % len(self.patients)][1],
            "recid": number,
            "date": dt.date(2016, 10, 1 + number % 3).isoformat(),
            "Type": "Left Dorsal",
            "image_Full": picture(number),
        } | changes
        row = {name: StoredContainerFile(value) if isinstance(value, bytes) else value for name, value in row.items()}
        self.store.insert(DATABASE, TABLE, [row])
        return own_id

    def run(self, *, batch_size: int = 3, **options: Any) -> ImportReport:
        """One run, which does not really sleep."""
        callbacks = options.pop("callbacks", None) or self.callbacks()
        return import_images(self.settings, batch_size=batch_size, callbacks=callbacks, **options)

    def callbacks(self, **more: Any) -> Callbacks:
        """Those of `run`, with others in place of some."""
        return Callbacks(**{"sleep": self.paused.append, "on_message": self.said.append, **more})

    def marks(self) -> dict[int, str]:
        """Record id -> the mark."""
        with open_client(self.settings) as client:
            return {record.record_id: str(record.fields["NexusExportDate"]) for record in self._records(client)}

    def marked(self) -> set[int]:
        """Record ids with a mark."""
        return {number for number, mark in self.marks().items() if mark}

    def _records(self, client: DataApiClient) -> list[Any]:
        return read_completely(partial(client.page, LAYOUT), list, page_size=1000)

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """One statement as somebody else, committed; its rows if it has any."""
        with closing(psycopg2.connect(self.settings.nexus_database_url.get_secret_value())) as connection:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return rows

    def images(self) -> list[tuple[Any, ...]]:
        """(FileMaker id, key, batch's patient) of every image in Nexus."""
        return self.execute(
            "SELECT i.filemaker_id::text, i.s3_key, b.object_id::text FROM images_image i"
            " JOIN images_batch b ON b.id = i.batch_id ORDER BY i.s3_key"
        )

    def states(self) -> dict[int, tuple[str, str | None]]:
        """Record id -> state and reason."""
        rows = self.execute("SELECT record_id, state, reason FROM fm_pipeline.waterfall_images")
        return {number: (state, reason) for number, state, reason in rows}

    def files(self) -> dict[str, tuple[int, str]]:
        """Pictures in the bucket, without thumbnails."""
        return {key: value for key, value in self.bucket.objects().items() if not key.endswith("_thumb.jpg")}

    def check(self) -> None:
        """Nothing twice, nothing lost on the way, no mark without its file, whatever happened so far."""
        images, files = self.images(), self.files()
        ids = [own_id for own_id, _, _ in images]
        assert len(ids) == len(set(ids)), "an image is in Nexus twice"
        keys = [key for _, key, _ in images]
        assert len(keys) == len(set(keys)), "two images share a file"
        assert set(keys) <= set(files), "a row has no file"
        counts = self.execute(
            "SELECT b.id FROM images_batch b WHERE image_count <> (SELECT count(*) FROM images_image i"
            " WHERE i.batch_id = b.id)"
        )
        assert counts == [], "a batch counts wrong"
        linked = {own_id: key for own_id, key, _ in images}
        with open_client(self.settings) as client:
            for record in self._records(client):
                if record.fields["NexusExportDate"]:
                    assert str(record.fields["id"]).lower() in linked, "a mark has no row"


@contextmanager
def image_clinic(database_url: str, folder: Path, bucket: BucketBench) -> Iterator[ImageClinic]:
    """Nexus with patients and without images, a FileMaker file with an empty table of images, an empty bucket."""
    fill_image_clinic(database_url)
    with filled_image_clinic(database_url, folder, bucket) as clinic:
        yield clinic


def fill_image_clinic(database_url: str) -> None:
    """Make its Nexus in an empty database."""
    with closing(psycopg2.connect(database_url)) as connection:
        create_nexus(connection)
        connection.commit()
        fill_nexus(connection, small_clinic(SCALE))
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM images_image; DELETE FROM images_batch")
        connection.commit()


@contextmanager
def filled_image_clinic(database_url: str, folder: Path, bucket: BucketBench) -> Iterator[ImageClinic]:
    """The same for a database that is filled."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT id::text, lower(filemaker_metadata ->> 'filemaker_id') FROM patients"
            " WHERE filemaker_metadata ->> 'filemaker_id' <> '' ORDER BY id"
        )
        patients = cursor.fetchall()
    with closing(Store(folder / "filemaker.sqlite")) as store:
        store.create_database(DATABASE, [ServerAccount(USER, PASSWORD)])
        store.create_table(DATABASE, TABLE, FIELDS)
        store.create_layout(DATABASE, LAYOUT, TABLE, [each.name for each in FIELDS])
        with running_stand_in(store) as stand_in:
            settings = bucket.settings(
                load_settings(
                    _env_file=None,
                    nexus_database_url=database_url,
                    filemaker_url=stand_in.base_url,
                    filemaker_database=DATABASE,
                    filemaker_username=USER,
                    filemaker_password=PASSWORD,
                    state_dir=folder / "state",
                    filemaker_image_rest_seconds=0,
                    s3_timeout_seconds=60,
                )
            )
            yield ImageClinic(settings, stand_in, store, bucket, patients)


def only(mapping: Mapping[int, Any]) -> Any:
    """The one value."""
    (value,) = mapping.values()
    return value
