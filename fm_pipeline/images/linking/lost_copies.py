"""Restore copies of linked images that were deleted from S3, from the bulk dump.

The row in Nexus is not changed, so the copy gets the key in the row. An existing object is never overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fm_pipeline.errors import PipelineError, StorageError
from fm_pipeline.images.linking.copier import failure_reason
from fm_pipeline.images.linking.copy_ledger import CopyRecord
from fm_pipeline.images.linking.look import look
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
    """

    made_again: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)


def find_lost(
    bucket: Bucket, linked: Mapping[int, str], ledger: Mapping[int, CopyRecord], known: ImageIndex
) -> list[tuple[CopyRecord, bool]]:
    """Linked images whose file is not in a fresh listing, by record id.

    Args:
        linked: Nexus id by record id.

    Returns:
        The ledger's row, and whether the picture itself is gone (else only its thumbnail). Images whose row in Nexus
        names another key than the ledger are left out: somebody has moved them.
    """
    ours = {
        recid: row
        for recid, own_id in linked.items()
        if (row := ledger.get(recid)) and known.images[own_id].s3_key == row.target_key
    }
    if not ours:
        return []
    missing = {key for row in ours.values() for key in (row.target_key, thumbnail_key_of(row.target_key))}
    for found in bucket.list(WRITABLE):  # it may have many times as many objects as there are copies
        missing.discard(found.key)
    return [
        (row, row.target_key in missing)
        for _, row in sorted(ours.items())
        if not missing.isdisjoint((row.target_key, thumbnail_key_of(row.target_key)))
    ]


def restore_copies(
    bucket: Bucket,
    lost: Sequence[tuple[CopyRecord, bool]],
    inventory: Iterable[StoredObject],
    *,
    workers: int,
    dry_run: bool,
    on_progress: Callable[[str, int, int | None, int], None],
) -> LostCopies:
    """Copy them again and look whether they are there.

    Args:
        inventory: the bulk dump as it was listed.

    Raises:
        StorageError: S3 refuses everything.
    """
    sources = {found.key: found for found in inventory}
    result, todo = LostCopies(), []
    for row, picture_gone in lost:
        source = sources.get(row.source_key)
        if source and (source.size, source.etag) == (row.source_size, row.source_etag):
            todo.append((row, picture_gone, source))
        else:
            result.failed[row.recid] = SOURCE_GONE
    if dry_run:
        result.made_again = [row.recid for row, *_ in todo]
        return result

    def work(each: tuple[CopyRecord, bool, StoredObject]) -> str | None:
        return _restore_copy(bucket, *each)

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


def _restore_copy(bucket: Bucket, row: CopyRecord, picture_gone: bool, source: StoredObject) -> str | None:
    """Make one again; the reason if it cannot be."""
    facts, thumbnail = look(bucket, source)
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
