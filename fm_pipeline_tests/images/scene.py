"""A small bulk dump with its export, for a clinic that has patients and no images."""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fm_pipeline.db.migrate import migrate
from fm_pipeline.images.exports.metadata_table import Dates
from fm_pipeline.images.exports.reader import read_export
from fm_pipeline.images.linking.link_images import link_images
from fm_pipeline.images.linking.report import LinkReport
from fm_pipeline.images.linking.steps import LinkOptions
from fm_pipeline.storage.bucket import Bucket
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench

HEADER = ("date", "fileName", "id", "id_Contact", "Name_of_file", "NexusExportDate", "recid", "Type")


@cache
def jpeg(number: int, size: tuple[int, int] = (32, 24)) -> bytes:
    """A JPEG of its own for each number."""
    image = Image.new("RGB", size, (number % 256, number // 256 % 256, 99))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=60, comment=str(number))
    return out.getvalue()


@dataclass(frozen=True)
class Row:
    """A record of the export."""

    recid: str
    patient: str
    date: str = "10/18/2016"
    category: str = "Left Dorsal"
    id: str = ""

    def cells(self) -> list[str]:
        """In the order of the seed."""
        return [self.date, f"{self.recid}.jpg", self.id, self.patient, "Foot", "1", self.recid, self.category]


@dataclass
class Scene:
    """Nexus, a bucket, and the export that is to be linked."""

    bench: MigrationBench
    s3: BucketBench
    folder: Path
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bench = replace(self.bench, settings=self.s3.settings(self.bench.settings))
        migrate(self.bench.database_url)
        self.bench.execute("DELETE FROM images_image; DELETE FROM images_batch")
        self.patients: list[tuple[str, str]] = [
            (str(own_id), str(key))
            for own_id, key in self.bench.execute(
                "SELECT id, filemaker_metadata ->> 'filemaker_id' FROM patients"
                " WHERE filemaker_metadata ->> 'filemaker_id' <> '' ORDER BY id LIMIT 5"
            )
        ]

    def key(self, number: int = 0) -> str:
        """FileMaker's id of a patient."""
        return self.patients[number][1]

    def add(self, recid: int, patient: int = 0, body: bytes | None = None, **row: str) -> None:
        """A file of the bulk dump and its record."""
        self.s3.put_bulk(f"{recid}.jpg", jpeg(recid) if body is None else body)
        self.rows.append(Row(str(recid), self.key(patient), **row))

    @property
    def export_file(self) -> Path:
        """The export as FileMaker writes it."""
        path = self.folder / "Image_DataV6.tab"
        path.write_text("".join("\t".join(row.cells()) + "\r" for row in self.rows), "utf-8", newline="")
        return path

    def link(
        self,
        bucket: Bucket | None = None,
        now: dt.datetime = RUN_TIME,
        *,
        export: Path | None = None,
        dates: Dates = "mdy",
        run_id: str | None = None,
        **options: Any,
    ) -> LinkReport:
        """Link them; by another export than the usual one if that is given."""
        settings = self.bench.settings
        return link_images(
            settings,
            bucket or self.s3.bucket(settings),
            read_export(export or self.export_file),
            LinkOptions(**options),
            actor="bench",
            now=lambda: now,
            run_id=run_id,
            dates=dates,
            warn=pytest.fail,
        )

    def images(self) -> dict[int, tuple[str, str, str]]:
        """What Nexus shows, by record id: patient, batch name, key."""
        rows = self.bench.execute(
            "SELECT i.original_name, b.object_id::text, b.name, i.s3_key"
            " FROM images_image i JOIN images_batch b ON b.id = i.batch_id"
        )
        return {int(name.split(".")[0]): (patient, batch, key) for name, patient, batch, key in rows}

    def states(self) -> dict[int, str]:
        """The ledger."""
        return dict(self.bench.execute("SELECT recid, state FROM fm_pipeline.image_copies"))

    def ends(self) -> dict[int, tuple[str | None, str | None]]:
        """What the table says of each record."""
        rows = self.bench.execute("SELECT recid, outcome, reason FROM fm_pipeline.image_metadata")
        return {recid: (outcome, reason) for recid, outcome, reason in rows}
