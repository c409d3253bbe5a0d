"""Set the mark in FileMaker: the last step, after S3 and Nexus were checked again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.errors import RecordChanged, RecordInUse
from fm_pipeline.images.containers.nexus_view import ImageRow, NexusView
from fm_pipeline.images.containers.source import ImageLayout, SourceImage, read_image
from fm_pipeline.images.containers.upload import object_exists
from fm_pipeline.storage.bucket import Bucket

ATTEMPTS = 3  # of a record that is edited all the time
MarkResult = Literal["marked", "in_use", "row_without_file", "changed_after_link", "picture_changed", "gone"]


@dataclass(frozen=True)
class RecordAsRead:
    """The state of a record when its picture was read.

    Attributes:
        mod_id: its modification id then. If it has changed, the picture may have changed.
        still_shows: whether the record still has the picture that S3 has under the key.
    """

    mod_id: int
    still_shows: Callable[[SourceImage, str], bool]


@dataclass(frozen=True)
class Marker:
    """Sets the mark of records."""

    client: DataApiClient
    layout: ImageLayout
    bucket: Bucket
    view: NexusView

    def mark(self, image: SourceImage, image_id: str, now: datetime, seen: RecordAsRead | None = None) -> MarkResult:
        """Write the mark with the modification id that was read, so that no edit is overlooked.

        Args:
            image: the record as it was read last.
            image_id: of Nexus, committed.
            now: the clinic's time.
            seen: None for an image that came into Nexus by other means; its picture was never read here.

        Raises:
            FileMakerError: refused or not answered; the mark may be written, which the next run checks.
        """
        row = self.view.row(image_id)
        if row is None or not object_exists(self.bucket, row.s3_key, row.size):
            return "row_without_file"
        for _ in range(ATTEMPTS):
            if changed := self._changed(image, row, seen):
                return changed
            try:
                self._write(image, now)
            except RecordInUse:
                return "in_use"
            except RecordChanged:
                record = self.client.record(self.layout.name, image.record_id)
                if record is None:
                    return "gone"
                image = read_image(self.layout, record)
                if not image.marked:
                    continue
            return "marked"
        return "in_use"

    def _write(self, image: SourceImage, now: datetime) -> None:
        text = f"{now:%m/%d/%Y}" if self.layout.mark.result == "date" else f"{now:%m/%d/%Y %H:%M:%S}"
        self.client.edit(self.layout.name, image.record_id, {self.layout.mark.name: text}, image.mod_id)

    def _changed(
        self, image: SourceImage, row: ImageRow, seen: RecordAsRead | None
    ) -> Literal["changed_after_link", "picture_changed"] | None:
        """What FileMaker says of the image that Nexus does not show."""
        patient = self.view.patient_of(image)
        if isinstance(patient, str) or patient.nexus_id != row.patient_id:
            return "changed_after_link"
        if seen and image.mod_id != seen.mod_id and not seen.still_shows(image, row.s3_key):
            return "picture_changed"
        return None
