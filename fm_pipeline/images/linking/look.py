"""Look at a file of the bulk dump: read it, decode it, and make its thumbnail."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from fm_pipeline.images.linking.copy_ledger import InspectedFile
from fm_pipeline.images.pictures.inspect import RejectedPicture, inspect_with_thumbnail
from fm_pipeline.images.pictures.kinds import HEAD_BYTES, may_be_picture
from fm_pipeline.storage.bucket import Bucket, StoredObject

PICTURE_LIMIT = 200 * 1024**2  # bytes of a file that is read into memory


class Looked(NamedTuple):
    """The result for the copy ledger, and of a picture the thumbnail and the MD5, which many servers use as ETag."""

    facts: InspectedFile
    thumbnail: bytes | None = None
    md5: str = ""


def look(bucket: Bucket, source: StoredObject) -> Looked:
    """Read a file and decode every pixel.

    A file whose first bytes are not those of a picture is not read further. All others are read to their end: the
    thumbnail needs their pixels, and only the decoder finds what is missing in the middle.

    Raises:
        StorageError: S3 refused, or the file has changed since it was listed.
    """
    if source.size > PICTURE_LIMIT:
        return Looked(InspectedFile(source.etag, source.size, "picture_too_large"))
    content = bucket.read_listed(source, HEAD_BYTES, may_be_picture)
    looked = inspect_with_thumbnail(content)
    if isinstance(looked, RejectedPicture):
        return Looked(InspectedFile(source.etag, source.size, f"picture_{looked.reason}"))
    picture, thumbnail = looked
    sha256 = hashlib.sha256(content).hexdigest()
    return Looked(
        InspectedFile(source.etag, source.size, None, picture.mime_type, picture.width, picture.height, sha256),
        thumbnail,
        hashlib.md5(content, usedforsecurity=False).hexdigest(),
    )
