"""Compares the linked images with the expected ones: Nexus' rows, and the files of the S3 server byte by byte."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2

from fm_pipeline.images.pictures.inspect import Picture, inspect
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.sandbox.clinic.bulk_dump import PREFIX, BulkDump, ExpectedLink
from fm_pipeline.sandbox.clinic.generate import Clinic
from fm_pipeline.sandbox.clinic.nexus.values import row_id
from fm_pipeline.sandbox.demo.clinic import ComparisonResult
from fm_pipeline.sandbox.nexus.digest import schema_digest

LINK = "statements about the link of the images hold"
THUMBNAIL_PIXELS = 300
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_ROWS = """
SELECT i.filemaker_id::text, b.object_id::text, b.name, b.id::text, i.category, i.date_taken, i.file_size, i.mime_type,
       i.width, i.height, i.s3_key, i.s3_thumbnail_key, i.thumbnail_size
FROM images_image i JOIN images_batch b ON b.id = i.batch_id JOIN django_content_type t ON t.id = b.content_type_id
WHERE t.app_label = 'patients' AND t.model = 'patient'
"""
_BATCHES = """
SELECT b.object_id::text, b.name, b.image_count, count(i.id), count(DISTINCT i."order")
FROM images_batch b LEFT JOIN images_image i ON i.batch_id = b.id GROUP BY b.id
"""


class LinkedImageRow(NamedTuple):
    """An image in Nexus; fields as in `_ROWS`."""

    filemaker_id: str
    patient: str
    batch_name: str
    batch: str
    category: str
    date: Any
    size: int
    mime_type: str
    width: int
    height: int
    key: str
    thumbnail_key: str
    thumbnail_size: int


class LinkedImages:
    """The result of linking a clinic's bulk dump.

    Args:
        clinic: generated with `images="bulk"`.
        database_url: of its Nexus.
        folder: of the bucket, on this machine.

    Raises:
        ValueError: the clinic has no bulk dump.
    """

    def __init__(self, clinic: Clinic, database_url: str, folder: Path) -> None:
        if clinic.bulk_dump is None:
            raise ValueError("The clinic has no bulk dump.")
        self.dump: BulkDump = clinic.bulk_dump
        self.expected: ExpectedLink = clinic.bulk_dump.expected_link()
        self._database_url, self._folder = database_url, folder

    def judge(self) -> list[ComparisonResult]:
        """Compare everything with the expected link."""
        rows = [LinkedImageRow(*row) for row in self.query(_ROWS)]
        return [
            *self._ends(),
            *self._batches(),
            _result("rows of images, to the column", self._unlike(rows), len(self.expected.images)),
            _result("copies, byte by byte", self._wrong_copies(rows), len(rows)),
            _result("thumbnails, upright", self._wrong_thumbnails(rows), len(rows)),
            self._nothing_else(rows),
            self._dump_untouched(),
        ]

    def state(self) -> object:
        """A digest of every table of Nexus and every object; equal only if nothing has changed."""
        objects = {path: hashlib.sha256(path.read_bytes()).digest() for path in self._objects()}
        with closing(psycopg2.connect(self._database_url)) as connection, connection.cursor() as cursor:
            return schema_digest(cursor, read_catalogue(cursor, "public")), objects

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own, commit, and return its rows."""
        with closing(psycopg2.connect(self._database_url)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            rows = cursor.fetchall()
            connection.commit()
            return rows

    def orphan(self) -> int:
        """Simulate an earlier reimport that gave patients new ids: some batches then refer to ids of no patient.

        Returns:
            The number of such batches; those of about every eighth patient.
        """
        return len(
            self.query(
                "UPDATE images_batch SET object_id = md5('an earlier reimport' || object_id::text)::uuid"
                " WHERE left(md5(object_id::text), 1) IN ('0', '1') RETURNING id"
            )
        )

    def _objects(self, below: str = "") -> Iterator[Path]:
        return (path for path in (self._folder / below).rglob("*") if path.is_file())

    def _ends(self) -> Iterator[ComparisonResult]:
        """Compare the outcome of every row of the export, by the pipeline's own table."""
        ends = self.query("SELECT recid, outcome, reason FROM fm_pipeline.image_metadata")
        linked = sum(outcome == "linked" for _, outcome, _ in ends)
        yield ComparisonResult(
            LINK, "linked", linked == len(self.expected.images), f"{linked:,} of {len(self.expected.images):,}"
        )
        reasons = {recid: reason for recid, outcome, reason in ends if outcome != "linked"}
        found = ", ".join(f"{number:,} {reason}" for reason, number in sorted(Counter(reasons.values()).items()))
        yield ComparisonResult(LINK, "skipped and failed, by reason", reasons == dict(self.expected.not_linked), found)

    def _batches(self) -> Iterator[ComparisonResult]:
        """Check that each patient and day has one batch, with its name and its number of ordered images."""
        names = {day: f"{day.day} {_MONTHS[day.month - 1]} {day.year}" for _, day in self.expected.batches}
        wanted = Counter(
            (str(row_id("patient", images[0].patient)), f"{names[day]} (FileMaker Import)", *[len(images)] * 3)
            for (_, day), images in self.expected.batches.items()
        )
        found = Counter(self.query(_BATCHES))
        right = sum((wanted & found).values())
        yield ComparisonResult(LINK, "batches", wanted == found, f"{right:,} of {sum(wanted.values()):,}")

    def _unlike(self, rows: Iterable[LinkedImageRow]) -> int:
        """Return how many rows are not as expected, missing ones included."""
        wanted = {
            (
                *(image.filemaker_id, str(row_id("patient", image.patient)), image.category, image.date),
                *(image.size, image.mime_type, image.width, image.height),
            )
            for image in self.expected.images
        }
        found = {(r.filemaker_id, r.patient, r.category, r.date, r.size, r.mime_type, r.width, r.height) for r in rows}
        return len(wanted ^ found)

    def _wrong_copies(self, rows: Iterable[LinkedImageRow]) -> int:
        """Return the number of copies with a wrong key or wrong bytes."""
        recids = {image.filemaker_id: image.recid for image in self.expected.images}
        wrong = 0
        for row in rows:
            recid = recids.get(row.filemaker_id, 0)
            place = f"patients/{row.patient}/images/{row.batch}/{recid}."
            file = self._folder / row.key
            right = row.key.startswith(place) and file.is_file() and file.read_bytes() == self.dump.content(recid)
            wrong += not right
        return wrong

    def _wrong_thumbnails(self, rows: Iterable[LinkedImageRow]) -> int:
        wrong = 0
        for row in rows:
            file = self._folder / row.thumbnail_key
            content = file.read_bytes() if row.thumbnail_key and file.is_file() else b""
            picture = inspect(content)
            wrong += not (
                isinstance(picture, Picture)
                and picture.mime_type == "image/jpeg"
                and max(picture.width, picture.height) <= THUMBNAIL_PIXELS
                and (picture.width > picture.height) == (row.width > row.height)
                and len(content) == row.thumbnail_size
            )
        return wrong

    def _nothing_else(self, rows: Iterable[LinkedImageRow]) -> ComparisonResult:
        """Check that `patients/` contains only objects that rows name."""
        named = {key for row in rows for key in (row.key, row.thumbnail_key)}
        there = {str(path.relative_to(self._folder)) for path in self._objects("patients")}
        return ComparisonResult(LINK, "no other object", there == named, f"{len(there):,} of {len(named):,}")

    def _dump_untouched(self) -> ComparisonResult:
        """Check that the bulk dump is unchanged, key by key and byte by byte."""
        wanted = dict(self.dump.objects())
        found = {str(path.relative_to(self._folder)): path.read_bytes() for path in self._objects(PREFIX)}
        return ComparisonResult(LINK, "bulk dump untouched", wanted == found, f"{len(found):,} objects")


def _result(name: str, wrong: int, total: int) -> ComparisonResult:
    return ComparisonResult(LINK, name, wrong == 0, f"{total - wrong:,} of {total:,}")
