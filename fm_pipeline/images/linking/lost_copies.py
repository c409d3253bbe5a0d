"""Restore copies of linked images that were deleted from S3, from the bulk dump.

The row in Nexus is not changed, so the copy gets the key in the row. An existing object is never overwritten.

A bucket that was moved to another S3 server may have other ETags for the same files. Such a file is compared by its
checksum with the one that was copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fm_pipeline.errors import PipelineError, StorageError
from fm_pipeline.images.linking.copier import failure_reason
from fm_pipeline.images.linking.copy_ledger import CopyRecord, InspectedFile
from fm_pipeline.images.linking.look import Looked, look
from fm_pipeline.images.linking.matching import thumbnail_key_of
from fm_pipeline.images.linking.parallel import CircuitBreaker, in_parallel
from fm_pipeline.images.nexus.image_index import ImageIndex
from fm_pipeline.images.pictures.thumbnails import THUMBNAIL_MIME_TYPE
from fm_pipeline.storage.bucket import Bucket, ObjectExists, StoredObject
from fm_pipeline.storage.client import WRITABLE

SOURCE_GONE = "copy_gone"


@dataclass
class LostCopies:
    """What became of them.

    Attributes:
        made_again: record ids whose copy, thumbnail or both are there again (in a dry run: would be).
        failed: reasons by record id.
        other_etags: how many of their files have another ETag than when they were copied, and the same size.
    """

    made_again: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    other_etags: int = 0


def find_lost(
    bucket: Bucket, linked: Mapping[int, str], read_copies: Callable[[], Iterable[CopyRecord]], known: ImageIndex
) -> list[tuple[CopyRecord, bool]]:
    """Linked images whose file is not in a fresh listing, by record id.

    In a clone of FileMaker's file an image may have another record id than when it was copied. So the ledger's rows are
    found by their images.

    Args:
        linked: Nexus id by record id.
        read_copies: reads the copy ledger in the order of its record ids. It is read twice and not held.

    Returns:
        The ledger's row with the record id that the image has now, and whether the picture itself is gone (else only
        its thumbnail). Images whose row in Nexus names another key than the ledger are left out: somebody has moved
        them.
    """
    recids = {own_id: recid for recid, own_id in linked.items()}

    def ours() -> Iterator[tuple[CopyRecord, tuple[str, str]]]:
        for row in read_copies():
            own_id = row.image_id if row.image_id in recids else linked.get(row.recid)
            if own_id and known.images[own_id].s3_key == row.target_key:
                yield row._replace(recid=recids[own_id]), (row.target_key, thumbnail_key_of(row.target_key))

    missing = {key for _, keys in ours() for key in keys}
    if not missing:
        return []
    for found in bucket.list(WRITABLE):  # it may have many times as many objects as there are copies
        missing.discard(found.key)
    return [(row, row.target_key in missing) for row, keys in ours() if not missing.isdisjoint(keys)] if missing else []


def restore_copies(
    bucket: Bucket,
    lost: Sequence[tuple[CopyRecord, bool]],
    inventory: Iterable[StoredObject],
    inspected: Mapping[tuple[str, int], InspectedFile],
    *,
    workers: int,
    dry_run: bool,
    on_progress: Callable[[str, int, int | None, int], None],
) -> LostCopies:
    """Copy them again and look whether they are there.

    Args:
        inventory: the bulk dump as it was listed.
        inspected: what is known of files, by ETag and size.

    Raises:
        StorageError: S3 refuses everything.
    """
    sources = {found.key: found for found in inventory}
    result, todo = LostCopies(), []
    for row, picture_gone in lost:
        source = sources.get(row.source_key)
        if source is None or source.size != row.source_size:
            result.failed[row.recid] = SOURCE_GONE
        else:
            todo.append((row, picture_gone, source))
            result.other_etags += source.etag != row.source_etag

    def work(each: tuple[CopyRecord, bool, StoredObject]) -> str | None:
        row, picture_gone, source = each
        if dry_run and source.etag == row.source_etag:
            return None
        looked = look(bucket, source)
        if source.etag != row.source_etag and not _is_same(looked, row, inspected):
            return SOURCE_GONE
        return None if dry_run else _restore_copy(bucket, row, picture_gone, source, looked)

    breaker = CircuitBreaker()
    for done, ((row, *_), reason) in enumerate(in_parallel(work, todo, workers), start=1):
        if isinstance(reason, PipelineError):
            result.failed[row.recid] = failure_reason(reason, "copy_failed")
            breaker.record(reason)
        else:
            breaker.record(None)
            if reason:
                result.failed[row.recid] = reason
            else:
                result.made_again.append(row.recid)
        on_progress("make lost copies again", done, len(todo), len(result.failed))
    result.made_again.sort()
    return result


def _is_same(looked: Looked, row: CopyRecord, inspected: Mapping[tuple[str, int], InspectedFile]) -> bool:
    """Whether a file is the one that was copied, by the checksum that was stored then, or by an ETag that is an MD5."""
    before = inspected.get((row.source_etag, row.source_size))
    if before and before.sha256:
        return before.sha256 == looked.facts.sha256
    return row.source_etag == looked.md5


def _restore_copy(
    bucket: Bucket, row: CopyRecord, picture_gone: bool, source: StoredObject, looked: Looked
) -> str | None:
    """Make one again; the reason if it cannot be."""
    facts, thumbnail, _ = looked
    if thumbnail is None:
        return facts.reason
    thumbnail_key = thumbnail_key_of(row.target_key)
    if not bucket.find(thumbnail_key):
        bucket.put(thumbnail_key, thumbnail, THUMBNAIL_MIME_TYPE)
    if picture_gone:
        try:
            bucket.copy(source, row.target_key, facts.mime_type)
        except ObjectExists:
            return "target_differs"
        found = bucket.find(row.target_key)
        if found is None or not bucket.same_bytes(source, found):
            raise StorageError("A copy is not in the listing as it should be.", code="NotShown")
    return None
