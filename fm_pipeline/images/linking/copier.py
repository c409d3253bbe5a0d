"""Copy files inside S3: inspect each file once, copy, verify by listing. Every step can be killed and repeated.

Source and target are listed and not requested object by object: 6,490 images take seven requests.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.errors import PipelineError, StorageError, UnforeseenError
from fm_pipeline.images.linking import copy_ledger
from fm_pipeline.images.linking.copy_ledger import InspectedFile
from fm_pipeline.images.linking.matching import PlannedImage
from fm_pipeline.images.linking.parallel import ARCHIVED, CircuitBreaker, in_parallel
from fm_pipeline.images.pictures import inspect as pictures
from fm_pipeline.images.pictures import thumbnails
from fm_pipeline.storage.bucket import WRITABLE, Bucket, ObjectExists, StoredObject

FLUSH_SECONDS, FLUSH_ROWS = 0.5, 200  # what the ledger loses at a kill; the listing shows it all the same
FEW_PATIENTS = 100  # up to here a listing for each patient is cheaper than one of all
PICTURE_LIMIT = 200 * 1024**2  # bytes of a file that is read into memory
# A later run inspects these again: limits may have changed, or more memory may be free.
LIMITS = {"picture_too_large", "picture_too_many_pixels", "picture_no_memory"}

_log = logging.getLogger(__name__)

Result = TypeVar("Result")
OnProgress = Callable[[str, int, int | None, int], None]  # step, done, of how many, errors


@dataclass(frozen=True)
class Copier:
    """Executes planned copies and writes the copy ledger.

    Args:
        connection: for the ledger; each flush is committed.
    """

    bucket: Bucket
    connection: Connection
    concurrency: int
    now: Callable[[], datetime]
    on_progress: OnProgress = lambda *_: None

    def run(self, planned: Sequence[PlannedImage], targets: Mapping[str, StoredObject]) -> dict[int, str]:
        """Inspect, copy, verify.

        Args:
            targets: existing objects, from `list_targets`.

        Returns:
            Reasons by record id, of images that were not verified. All others are verified, in the ledger too.

        Raises:
            StorageError: S3 refuses every request; finished work is in the ledger.
        """
        self._in_ledger(
            lambda cursor: copy_ledger.record_planned(cursor, (each.ledger_row() for each in planned), self.now())
        )
        failed = different_targets(self.bucket, planned, targets)
        failed |= self._check([each for each in planned if each.recid not in failed], targets)
        waiting = [each for each in planned if each.recid not in failed and each.target_key not in targets]
        answered, failures = self.copy(waiting)
        failed |= failures
        failed |= self._verify([each for each in planned if each.recid not in failed], answered)
        self._in_ledger(lambda cursor: copy_ledger.record_failed(cursor, list(failed.items()), self.now()))
        return failed

    def _check(self, planned: Sequence[PlannedImage], targets: Mapping[str, StoredObject]) -> dict[int, str]:
        """Inspect each file that was not inspected before, and put its thumbnail beside the copy."""
        known = self._read(copy_ledger.read_inspected)
        failed: dict[int, str] = {}
        unseen = []
        for each in planned:
            facts = known.get((each.source.etag, each.source.size))
            if facts and facts.reason and facts.reason not in LIMITS:
                failed[each.recid] = facts.reason
            elif facts is None or facts.reason or each.thumbnail_key not in targets:
                unseen.append(each)

        def look(each: PlannedImage) -> InspectedFile:
            return self._look(each, targets)

        def keep(results: Sequence[tuple[PlannedImage, InspectedFile]]) -> None:
            facts = {(found.etag, found.size): found for _, found in results}
            self._in_ledger(lambda cursor: copy_ledger.record_inspected(cursor, facts.values(), self.now()))

        for each, result in self._each("check pictures", look, unseen, keep):
            if isinstance(result, PipelineError):
                failed[each.recid] = failure_reason(result, "source_changed", "read_failed")
            elif result.reason:
                failed[each.recid] = result.reason
        return failed

    def _look(self, each: PlannedImage, targets: Mapping[str, StoredObject]) -> InspectedFile:
        source = each.source
        if source.size > PICTURE_LIMIT:
            return InspectedFile(source.etag, source.size, "picture_too_large")
        data = self.bucket.read(source.key)
        if len(data) != source.size:
            raise StorageError("A file of the bulk dump changed while the link ran.", code="NoSuchKey")
        looked = pictures.inspect_with_thumbnail(data)
        if isinstance(looked, pictures.RejectedPicture):
            return InspectedFile(source.etag, source.size, f"picture_{looked.reason}")
        picture, thumbnail = looked
        if each.thumbnail_key not in targets:
            self.bucket.put(each.thumbnail_key, thumbnail, thumbnails.THUMBNAIL_MIME_TYPE)
        return InspectedFile(source.etag, source.size, None, picture.mime_type, picture.width, picture.height)

    def copy(self, planned: Sequence[PlannedImage]) -> tuple[dict[int, str], dict[int, str]]:
        """Copy; return ETags and failure reasons by record id. The later listing decides about refused conditions."""
        types = {key: facts.mime_type for key, facts in self._read(copy_ledger.read_inspected).items()}
        answered: dict[int, str] = {}
        failed: dict[int, str] = {}

        def copy(each: PlannedImage) -> str | None:
            try:
                kind = types.get((each.source.etag, each.source.size))
                return self.bucket.copy(each.source, each.target_key, kind)
            except ObjectExists:
                return None

        def keep(results: Sequence[tuple[PlannedImage, str | None]]) -> None:
            rows = [(each.recid, etag) for each, etag in results if etag]
            self._in_ledger(lambda cursor: copy_ledger.record_copied(cursor, rows, self.now()))

        for each, result in self._each("copy images", copy, planned, keep):
            if isinstance(result, PipelineError):
                failed[each.recid] = failure_reason(result, "source_changed", "copy_failed")
            elif result:
                answered[each.recid] = result
        return answered, failed

    def _verify(self, planned: Sequence[PlannedImage], answered: Mapping[int, str]) -> dict[int, str]:
        """Compare the copies with a listing of their targets."""
        self.on_progress("verify copies", 0, len(planned), 0)
        targets = list_targets(self.bucket, planned)
        verified: list[tuple[int, str, int | None]] = []
        failed: dict[int, str] = {}
        for each in planned:
            target, thumbnail = targets.get(each.target_key), targets.get(each.thumbnail_key)
            if target is None or thumbnail is None:
                failed[each.recid] = "not_verified"
            elif (
                # After a multipart upload or with KMS the copy has another ETag, which S3 returned for the copy.
                target.size == each.source.size and target.etag == answered.get(each.recid)
            ) or self.bucket.same_bytes(each.source, target):
                verified.append((each.recid, target.etag, thumbnail.size))
            else:
                failed[each.recid] = "target_differs"
        self._in_ledger(lambda cursor: copy_ledger.record_verified(cursor, verified, self.now()))
        self.on_progress("verify copies", len(verified), len(planned), len(failed))
        return failed

    def _each(
        self,
        step: str,
        work: Callable[[PlannedImage], Result],
        planned: Sequence[PlannedImage],
        keep: Callable[[Sequence[tuple[PlannedImage, Result]]], None],
    ) -> Iterator[tuple[PlannedImage, Result | PipelineError]]:
        """Yield results of `work` as they arrive, and pass them to `keep` in batches."""
        breaker, errors, last = CircuitBreaker(), 0, time.monotonic()
        portion: list[tuple[PlannedImage, Result]] = []
        if planned:
            self.on_progress(step, 0, len(planned), 0)
        results = in_parallel(work, planned, self.concurrency, lambda each, result: portion.append((each, result)))
        try:
            for done, (each, result) in enumerate(results, start=1):
                if isinstance(result, PipelineError):
                    errors += 1
                    breaker.record(result)
                else:
                    breaker.record(None)
                    portion.append((each, result))
                if len(portion) >= FLUSH_ROWS or time.monotonic() - last > FLUSH_SECONDS:
                    keep(portion)
                    portion, last = [], time.monotonic()
                self.on_progress(step, done, len(planned), errors)
                yield each, result
        finally:
            results.close()  # waits for the items at work
            if portion:
                keep(portion)

    def _in_ledger(self, change: Callable[[Cursor], None]) -> None:
        with self.connection.cursor() as cursor:
            change(cursor)
        self.connection.commit()

    def _read(self, read: Callable[[Cursor], Result]) -> Result:
        with self.connection.cursor() as cursor:
            result = read(cursor)
        self.connection.commit()
        return result


def different_targets(
    bucket: Bucket, planned: Iterable[PlannedImage], targets: Mapping[str, StoredObject]
) -> dict[int, str]:
    """Return the images whose key has an object with other bytes; nothing is ever overwritten."""
    return {
        each.recid: "target_differs"
        for each in planned
        if (target := targets.get(each.target_key)) and not bucket.same_bytes(each.source, target)
    }


def list_targets(bucket: Bucket, planned: Iterable[PlannedImage]) -> dict[str, StoredObject]:
    """Return the existing objects at the targets by key: a listing for each of few patients, or one of all."""
    wanted = {key for each in planned for key in (each.target_key, each.thumbnail_key)}
    folders = sorted({f"{WRITABLE}{key.split('/')[1]}/" for key in wanted})
    prefixes = folders if len(folders) <= FEW_PATIENTS else [WRITABLE]
    return {found.key: found for prefix in prefixes for found in bucket.list(prefix) if found.key in wanted}


def failure_reason(error: PipelineError, gone: str, otherwise: str) -> str:
    """Return the reason for an image whose file or copy failed.

    Args:
        gone: if S3 has no such object.
        otherwise: if S3 refused or did not answer.
    """
    if isinstance(error, UnforeseenError):
        _log.warning("%s", error.what)
        return "unexpected_error"
    code = error.code if isinstance(error, StorageError) else ""
    return "archived" if code == ARCHIVED else gone if code in {"NoSuchKey", "404"} else otherwise
