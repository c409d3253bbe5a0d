"""Rows of images and batches: names, ids, and values for the columns of every release of Nexus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from fm_pipeline.db.table import INTEGER_TYPES, Column, Table
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.own_types import refuse_other_types, refuse_times_without_zone
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.table_names import BATCHES, FILE_COLUMNS, IMAGES
from fm_pipeline.staging.values.keys import new_nexus_id

IMPORT_SOURCE = "filemaker_import"
CATEGORY_COLUMNS = ("category", "filemaker_type")  # that hold FileMaker's Type
# The longest that `link` and the waterfall make: of ids alone, see `batch_folder` and `target_key`.
_LONGEST_KEY = f"patients/images/{'0' * 36}/{'0' * 36}/{'0' * 36}"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class NewImage:
    """An image whose file is in S3 under its final key, verified.

    Attributes:
        patient: FileMaker's id of the patient (any letter case), or the Nexus id.
        batch_id: as `batch_id` or `ImageIndex.batch_for` gives it.
        taken: the exact date that the batch is for.
        recid: FileMaker's record id of the image.
        filemaker_id: FileMaker's uuid of the image, lower case, where it is known.
        category: FileMaker's Type, unchanged.
        size, thumbnail_size: bytes.
        width, height: pixels as shown, after EXIF orientation.
    """

    patient: str
    batch_id: str
    taken: date
    s3_key: str
    original_name: str
    size: int
    mime_type: str
    recid: int | None = None
    filemaker_id: str | None = None
    category: str = ""
    caption: str = ""
    width: int | None = None
    height: int | None = None
    thumbnail_key: str = ""
    thumbnail_size: int | None = None

    @property
    def id(self) -> str:
        """See `image_id`."""
        return image_id(self.recid, self.filemaker_id)


def batch_name(day: date) -> str:
    """Return for example `5 Nov 2016 (FileMaker Import)`, independent of the locale."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year} (FileMaker Import)"


def batch_id(patient_key: str, day: date) -> str:
    """Return the Nexus id of a new batch: the same in every run.

    Args:
        patient_key: `PatientMatch.key`.
    """
    return new_nexus_id("image_batch", f"{patient_key}/{day.isoformat()}")


def image_id(recid: int | None, filemaker_id: str | None) -> str:
    """Return the Nexus id of a new image: the same in every run. It is made of the record id if there is one."""
    return new_nexus_id("image", f"recid/{recid}" if recid is not None else str(filemaker_id))


def batch_values(batch: str, patient_type: int, patient_id: str, day: date, now: datetime) -> dict[str, object]:
    """Return values for every column that a release may have; `image_count` is set after the images are inserted."""
    return {
        "id": batch,
        "content_type_id": patient_type,
        "object_id": patient_id,
        "patient_id": patient_id,
        "name": batch_name(day),
        "batch_name": batch_name(day),
        "description": "",
        "notes": "",
        "uploaded_by_id": None,
        "uploaded_at": now,
        "created_at": now,
        "updated_at": now,
        "image_count": 0,
        "captured_date": day,
        "import_source": IMPORT_SOURCE,
        "metadata": json.dumps({"source": IMPORT_SOURCE, "filemaker_date": day.isoformat()}),
    }


def image_values(
    image: NewImage, order: int, columns: Mapping[str, str], bucket: str, now: datetime
) -> dict[str, object]:
    """Return values for every column that a release may have.

    Args:
        columns: of the table, with their types: `filemaker_id` is a uuid in some releases and the record id in others.
    """
    by_number = columns.get("filemaker_id") in INTEGER_TYPES
    return {
        "id": image.id,
        "batch_id": image.batch_id,
        "s3_bucket": bucket,
        "s3_key": image.s3_key,
        "s3_thumbnail_key": image.thumbnail_key,
        "original_name": image.original_name,
        "original_filename": image.original_name,
        "file_size": image.size,
        "thumbnail_size": image.thumbnail_size,
        "mime_type": image.mime_type,
        "width": image.width,
        "height": image.height,
        "category": image.category,
        "caption": image.caption,
        "date_taken": image.taken,
        "captured_date": image.taken,
        "uploaded_by_id": None,
        "uploaded_at": now,
        "created_at": now,
        "updated_at": now,
        "filemaker_id": image.recid if by_number else image.filemaker_id,
        "filemaker_recid": image.recid,
        "filemaker_type": image.category,
        "filemaker_date": image.taken,
        "import_source": IMPORT_SOURCE,
        "metadata": json.dumps({"source": IMPORT_SOURCE, "filemaker_recid": image.recid}),
        "order": order,
    }


def needs_record_id(columns: Mapping[str, Column]) -> bool:
    """Return whether a column of the images holds FileMaker's record id and takes no NULL, not even with a default."""
    return any(
        column.not_null and (name == "filemaker_recid" or (name == "filemaker_id" and column.type in INTEGER_TYPES))
        for name, column in columns.items()
    )


def check_ids(catalogue: Catalogue) -> None:
    """Refuse a release whose images cannot be told apart; enough where none is written.

    Raises:
        CatalogueStop: a table is missing, or has an id of an unknown type.
    """
    catalogue.require([BATCHES, IMAGES])
    refuse_other_types(catalogue, FILE_COLUMNS)


def check_columns(catalogue: Catalogue) -> None:
    """Refuse a release into whose image tables no image could be written, before anything is copied or written.

    Raises:
        CatalogueStop: a table is missing, has a required column without a rule, an id or a time of an unknown type, or
            a column that is too short for what every image has, such as its key.
    """
    check_ids(catalogue)
    times = ("uploaded_at", "created_at", "updated_at")
    refuse_times_without_zone(catalogue, [(table, name) for table in (BATCHES, IMAGES) for name in times])
    types = {name: column.type for name, column in catalogue.columns[catalogue.table(IMAGES)].items()}
    day, now = date(2000, 12, 31), datetime(2000, 1, 1)  # noqa: DTZ001  # names of columns, and lengths of texts count
    key, thumbnail = f"{_LONGEST_KEY}.jpeg", f"{_LONGEST_KEY}_thumb.jpg"
    name_of_file = key.rpartition("/")[2]
    image = NewImage(
        "", "", day, key, name_of_file, 0, "image/jpeg", recid=0, width=0, height=0, thumbnail_key=thumbnail,
        thumbnail_size=0,
    )  # fmt: skip
    short: list[str] = []
    for name, values in (
        (BATCHES, batch_values("", 0, "", day, now)),
        (IMAGES, image_values(image, 0, types, "", now)),
    ):
        columns = catalogue.columns[catalogue.table(name)].values()
        short += [
            f"{name}.{column.name} ({column.most_characters} characters, {len(value)} are needed)"
            for column in columns
            if column.most_characters
            and isinstance(value := values.get(column.name), str)
            and len(value) > column.most_characters
        ]
        unknown = sorted(column.name for column in columns if column.must_be_given and values.get(column.name) is None)
        if unknown:
            raise CatalogueStop(
                f"{name} has columns that must be given and that no rule fills: {', '.join(unknown)}.",
                meaning="No image could be written. Nothing was copied and Nexus is unchanged.",
                remedy="Give them a default in the application, or tell the maintainers what belongs there.",
            )

    if short:
        raise CatalogueStop(
            f"Columns of Nexus are too short for what every image has: {', '.join(short)}.",
            meaning="No image could be written. Nothing was copied and Nexus is unchanged.",
            remedy="Let the application make these columns longer, then start again.",
        )


def text_limit(catalogue: Catalogue, table: Table, column: str) -> int | None:
    """Return the maximum length of a column; None if it is unlimited or does not exist."""
    found = catalogue.columns[table].get(column)
    return found.most_characters if found else None
