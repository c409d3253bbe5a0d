"""Upload a picture to S3: look it up, write it, verify it. Nothing is ever overwritten."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from fm_pipeline.errors import StorageError
from fm_pipeline.images.containers.best_container import BestContainer
from fm_pipeline.images.containers.nexus_view import ImageToImport
from fm_pipeline.images.containers.source import SourceImage
from fm_pipeline.images.linking.matching import thumbnail_key_of
from fm_pipeline.images.nexus.batch_and_image_values import NewImage
from fm_pipeline.images.pictures.thumbnails import THUMBNAIL_MIME_TYPE
from fm_pipeline.staging.values.keys import is_uuid
from fm_pipeline.storage.bucket import Bucket, ObjectExists


class UploadedImage(NamedTuple):
    """The image to write to Nexus, and the ETag of its verified file."""

    image: NewImage
    etag: str


def batch_folder(take: ImageToImport) -> str:
    """Return the folder of a batch's pictures. It contains no names of people."""
    return f"patients/images/{take.patient.nexus_id}/{take.batch_id}/"


def upload_image(bucket: Bucket, take: ImageToImport, image: SourceImage, best: BestContainer) -> UploadedImage:
    """Put the picture and its thumbnail into the folder of its batch.

    Raises:
        ObjectExists: another file has its place.
        StorageError: S3 refused, or does not show what it took.
    """
    if image.taken is None:
        raise ValueError("an image without a date has no batch")
    filemaker_id = image.key if is_uuid(image.key) else None
    stem = batch_folder(take) + (filemaker_id or str(image.recid))
    key = stem + best.picture.suffix
    thumbnail_key = thumbnail_key_of(key)
    etag = _put_picture(bucket, key, best.content, best.picture.mime_type)
    thumbnail_size = _put_thumbnail(bucket, thumbnail_key, best.thumbnail)
    return UploadedImage(
        NewImage(
            patient=take.patient.key,
            batch_id=take.batch_id,
            taken=image.taken,
            s3_key=key,
            original_name=key.rpartition("/")[2],
            size=len(best.content),
            mime_type=best.picture.mime_type,
            recid=take.recid,
            filemaker_id=filemaker_id,
            category=image.category,
            width=best.picture.width,
            height=best.picture.height,
            thumbnail_key=thumbnail_key,
            thumbnail_size=thumbnail_size,
        ),
        etag,
    )


def object_exists(bucket: Bucket, key: str, size: int | None) -> bool:
    """Whether S3 lists a file with the key, and with the size if it is given. An empty file does not count."""
    found = bucket.find(key)
    return found is not None and found.size == (size or found.size) and found.size > 0


def object_has_content(bucket: Bucket, key: str, content: bytes) -> bool:
    """Whether the object with this key has exactly this content."""
    return object_exists(bucket, key, len(content)) and bucket.digest(key) == hashlib.sha256(content).hexdigest()


def _put_picture(bucket: Bucket, key: str, content: bytes, mime_type: str) -> str:
    """Write the picture if the key is free. The key is looked up first: some servers ignore conditions."""
    found = bucket.find(key)
    if found is None:
        etag = bucket.put(key, content, mime_type)
        found = bucket.find(key)
        if found is None or found.size != len(content) or found.etag != etag:
            raise StorageError(
                "S3 took a file and does not show it.",
                code="NotShown",
                meaning="The image was not linked.",
                remedy="Start again; if it stays so, look at the S3 server.",
            )
    elif not object_has_content(bucket, key, content):
        raise ObjectExists("The key of an image is taken by an object with other bytes.")
    return found.etag


def _put_thumbnail(bucket: Bucket, key: str, content: bytes) -> int:
    """Keep an existing thumbnail: another version of the library would write other bytes."""
    found = bucket.find(key)
    if found:
        return found.size
    bucket.put(key, content, THUMBNAIL_MIME_TYPE)
    return len(content)
