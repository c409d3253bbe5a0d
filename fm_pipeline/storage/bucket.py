"""The bucket of documents and images: list, read, put, copy. Nothing here deletes.

Writes are allowed below `patients/` only; `client.py` sees to that.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
"""

from __future__ import annotations

import base64
import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from io import SEEK_END
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from fm_pipeline.env_file import where_looked_for
from fm_pipeline.errors import SettingsError, StorageError
from fm_pipeline.storage.client import BULK_PREFIX, make_client
from fm_pipeline.storage.errors import not_s3, refused_by_s3, storage_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from fm_pipeline.settings import Settings

COPY_LIMIT = 5 * 1024**3  # bytes that one CopyObject takes
READS = 3  # attempts to read a stream that breaks off
CHUNK = 1 << 20
# A page of a listing has at least one of these. botocore reads any other XML as a page without objects.
_LISTING_ELEMENTS = ("Name", "KeyCount", "IsTruncated", "Contents")


class StoredObject(NamedTuple):
    """An object in a listing: size in bytes, ETag without quotes."""

    key: str
    size: int
    etag: str
    modified: datetime


class ObjectExists(StorageError):
    """Another object has the key. It was not overwritten."""


def open_bucket(settings: Settings, client: S3Client | None = None) -> Bucket:
    """Return the bucket that the settings name.

    Raises:
        SettingsError: S3_BUCKET is not set.
    """
    name = require_bucket(settings)
    return Bucket(client or make_client(settings), name, settings.s3_bulk_prefix)


def require_bucket(settings: Settings) -> str:
    """Return the name of the bucket, before work that needs it starts.

    Raises:
        SettingsError: S3_BUCKET is not set.
    """
    if not settings.s3_bucket:
        raise SettingsError(
            "S3_BUCKET is not set.",
            remedy=f"Name the bucket of documents and images, in the environment or in .env ({where_looked_for()}).",
        )
    return settings.s3_bucket


def _require_listing(page: Mapping[str, Any], action: str) -> None:
    if not any(name in page for name in _LISTING_ELEMENTS):
        raise not_s3(action)


def _unreliable(what: str) -> StorageError:
    return StorageError(
        what,
        meaning="The listing cannot be relied upon.",
        remedy="Try again; if it stays so, the S3 server does not list correctly.",
    )


@dataclass(frozen=True)
class Bucket:
    """A bucket. Safe to use from several threads.

    Args:
        client: from `make_client`, or guarded by `guarded`.
    """

    client: S3Client
    name: str
    bulk_prefix: str = BULK_PREFIX

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object below a prefix, from all pages.

        Raises:
            StorageError: S3 refused; or a key is repeated, so the listing may be incomplete; or an ETag is missing, so
                versions of an object could not be distinguished.
        """
        hashes = array("q")  # of the keys so far, eight bytes each: a set would hold the keys themselves
        seen: set[int] | None = None  # as long as the keys are in order, none can come twice
        last = ""
        for found in self._listed(prefix):
            if seen is None and found.key <= last:
                seen = set(hashes)
            hashed = hash(found.key)  # equal for two of a million keys in one listing of 37 million
            if seen is None:
                hashes.append(hashed)
            elif hashed in seen:
                raise _unreliable("S3 gave the same key of a listing twice.")
            else:
                seen.add(hashed)
            last = found.key
            yield found

    def _listed(self, prefix: str) -> Iterator[StoredObject]:
        with storage_errors("list the bucket"):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                _require_listing(page, "list the bucket")
                for item in page.get("Contents", []):
                    if not {"Key", "Size", "LastModified"} <= item.keys():
                        raise not_s3("list the bucket")
                    etag = item.get("ETag", "").strip('"')
                    if not etag:
                        raise _unreliable("S3 gave a listing without the ETags of the objects.")
                    yield StoredObject(item["Key"], item["Size"], etag, item["LastModified"])

    def find(self, key: str) -> StoredObject | None:
        """Return the object with exactly this key, by a listing."""
        return next((found for found in self.list(key) if found.key == key), None)

    def check_access(self) -> None:
        """Check that the bucket exists and can be read, before work that needs it starts.

        Raises:
            StorageError: it does not exist, access is denied, or S3 does not answer.
        """
        action = "look at the bucket"
        try:
            with storage_errors(action):
                self.client.head_bucket(Bucket=self.name)
        except StorageError as error:
            # A response to HEAD has no body, and so no S3 error code.
            code = {"404": "NoSuchBucket", "403": "AccessDenied", "301": "PermanentRedirect"}.get(error.code)
            raise refused_by_s3(action, code) if code else error from None

    def exists(self, key: str) -> bool:
        """Whether an object with exactly this key exists. One request; to look up many keys, use `list`.

        The request is a listing that starts with this key. So it needs the right to list and not the right to read,
        and a missing object is never a 403, as it may be when the object itself is requested.

        Raises:
            StorageError: S3 refused or did not answer.
        """
        with storage_errors("look for an object"):
            page = self.client.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1)
            _require_listing(page, "look for an object")
        there = any(found.get("Key") == key for found in page.get("Contents", []))
        # Directory buckets and some other servers do not list in the order of keys.
        return there or (bool(page.get("IsTruncated")) and self.find(key) is not None)

    def read(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes of an object, from `start` up to and including `end`."""
        wanted = {} if start == 0 and end is None else {"Range": f"bytes={start}-{'' if end is None else end}"}
        return self._read(key, lambda answer: answer["Body"].read(), **wanted)

    def read_listed(self, found: StoredObject, head: int, goes_on: Callable[[bytes], bool]) -> bytes:
        """Return the bytes of an object, or only its first ones. One request; the rest is not asked for first.

        Args:
            head: how many bytes are read first.
            goes_on: given these bytes, whether the rest is wanted.

        Raises:
            StorageError: S3 refused; or the object no longer has the listed size (code NoSuchKey).
        """

        from botocore.exceptions import IncompleteReadError  # noqa: PLC0415

        def read(answer: Mapping[str, Any]) -> bytes:
            if answer["ContentLength"] != found.size:
                raise StorageError("An object of S3 changed after it was listed.", code="NoSuchKey")
            first: bytes = answer["Body"].read(head)
            if len(first) < min(head, found.size):
                raise IncompleteReadError(actual_bytes=len(first), expected_bytes=found.size)
            return first + answer["Body"].read() if goes_on(first) else first

        return self._read(found.key, read)

    def _read(self, key: str, read: Callable[[Mapping[str, Any]], bytes], **wanted: str) -> bytes:
        """Ask for an object and read its body; again if the stream breaks off."""
        from botocore.exceptions import IncompleteReadError, ResponseStreamingError  # noqa: PLC0415

        with storage_errors("read an object"):
            for left in reversed(range(READS)):
                answer = self.client.get_object(Bucket=self.name, Key=key, **wanted)  # type: ignore[arg-type]
                try:
                    with closing(answer["Body"]):  # this body raises when the stream breaks off
                        return read(answer)
                except (
                    IncompleteReadError,
                    ResponseStreamingError,
                ):  # boto3 retries a request, not the reading of its body
                    if not left:
                        raise
        raise AssertionError("unreachable")

    def read_beginning(self, key: str, length: int) -> int:
        """Read the first bytes of an object and discard them, to test that it can be read.

        Args:
            length: how many bytes at most.

        Returns:
            The size of the whole object.

        Raises:
            StorageError: S3 refused, or sent fewer bytes than the object has.
        """
        action = "open an object"
        try:
            with storage_errors(action):
                answer = self.client.get_object(Bucket=self.name, Key=key, Range=f"bytes=0-{length - 1}")
                with closing(answer["Body"]) as body:
                    first = body.read(length)
        except StorageError as error:
            if error.code in {"InvalidRange", "416", "RequestedRangeNotSatisfiable"}:  # the object is empty
                return 0
            raise
        whole = str(answer.get("ContentRange", "")).rpartition("/")[2]
        size = int(whole) if whole.isdigit() else int(answer["ContentLength"])  # the server does not support ranges
        if len(first) < min(size, length):
            raise refused_by_s3(action, "IncompleteBody")
        return size

    def digest(self, key: str) -> str:
        """Return the SHA-256 of an object, read in chunks."""
        digest = hashlib.sha256()
        with (
            storage_errors("read an object"),
            closing(self.client.get_object(Bucket=self.name, Key=key)["Body"]) as body,
        ):
            for chunk in body.iter_chunks(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def same_bytes(self, one: StoredObject, other: StoredObject) -> bool:
        """Whether two objects have the same bytes; they are read only if size and ETag do not decide it.

        Different ETags prove nothing: KMS encryption and multipart uploads change them.
        """
        if one.size != other.size:
            return False
        return one.etag == other.etag or self.digest(one.key) == self.digest(other.key)

    def put(self, key: str, body: bytes | BinaryIO, content_type: str) -> str:
        """Write a new object. An existing object with the same bytes is kept.

        Args:
            body: bytes, or a seekable file at its start.

        Returns:
            Its ETag.

        Raises:
            ObjectExists: the key has an object with other bytes. Some servers ignore the condition and overwrite
                (docs/images.md); there, list before you put.
        """
        if isinstance(body, bytes):
            size, md5 = len(body), hashlib.md5(body, usedforsecurity=False).digest()
        else:
            md5 = hashlib.file_digest(body, lambda: hashlib.md5(usedforsecurity=False)).digest()  # type: ignore[arg-type]
            size = body.seek(0, SEEK_END)  # file_digest leaves a BytesIO at its start
            body.seek(0)
        with storage_errors("write an object"):
            try:
                answer = self._write_new(
                    self.client.put_object,
                    Key=key,
                    Body=body,
                    ContentType=content_type,
                    ContentMD5=base64.b64encode(md5).decode(),
                )
                return _etag_of(answer, "write an object")
            except self.client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in {"PreconditionFailed", "412"}:
                    raise
        # It may be our own first attempt, whose answer was lost.
        found = self.find(key)
        if found and found.size == size and (found.etag == md5.hex() or self._has_content(found.key, body)):
            return found.etag
        raise ObjectExists(
            "The key of a new object is taken by an object with other bytes.",
            meaning="It was not overwritten.",
            remedy="Compare the two; fm-pipeline images link lists such images as target_differs.",
        )

    def _has_content(self, key: str, body: bytes | BinaryIO) -> bool:
        """Whether an object has these bytes, for objects whose ETag is not an MD5 (KMS, multipart)."""
        if isinstance(body, bytes):
            return self.digest(key) == hashlib.sha256(body).hexdigest()
        body.seek(0)
        return self.digest(key) == hashlib.file_digest(body, "sha256").hexdigest()  # type: ignore[arg-type]

    def copy(self, source: StoredObject, key: str, content_type: str | None = None) -> str:
        """Copy an object inside S3, if it has not changed since it was listed. The caller verifies the copy.

        Args:
            content_type: of the copy; None keeps that of the source.

        Returns:
            The ETag of the copy.

        Raises:
            ObjectExists: as for `put`; or the source has changed since it was listed.
        """
        kind: dict[str, Any] = {"MetadataDirective": "REPLACE", "ContentType": content_type} if content_type else {}
        with storage_errors("copy an object"):
            try:
                answer = self._write_new(
                    self.client.copy_object,
                    Key=key,
                    CopySource={"Bucket": self.name, "Key": source.key},
                    CopySourceIfMatch=f'"{source.etag}"',
                    **kind,
                )
            except self.client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in {"PreconditionFailed", "412"}:
                    raise
                raise ObjectExists(
                    "A copy was refused: its key is taken, or the source has changed since it was listed.",
                    meaning="Nothing was overwritten.",
                    remedy="Run the link again: it lists both sides anew.",
                ) from None
        return _etag_of(answer.get("CopyObjectResult", {}), "copy an object")

    def _write_new(self, call: Callable[..., Any], **arguments: Any) -> Any:
        """Write if the key is free; without this condition where the server does not implement it."""
        try:
            return call(Bucket=self.name, IfNoneMatch="*", **arguments)
        except self.client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in {"NotImplemented", "501"}:
                raise
        body = arguments.get("Body")
        if body is not None and hasattr(body, "seek"):
            body.seek(0)
        return call(Bucket=self.name, **arguments)


def _etag_of(answer: Mapping[str, Any], action: str) -> str:
    """Return the ETag in the response to a write; without one the response does not confirm the write."""
    etag = answer.get("ETag")
    if not isinstance(etag, str) or not etag:
        raise not_s3(action)
    return etag.strip('"')
