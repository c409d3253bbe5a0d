"""Copy files inside S3: inspect each file once, copy, verify by listing. Every step can be killed and repeated.

Source and target are listed and not requested object by object: 6,490 images take seven requests.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.errors import PipelineError, StorageError, UnforeseenError
from fm_pipeline.images.linking import copy_ledger
from fm_pipeline.images.linking.copy_ledger import InspectedFile
from fm_pipeline.images.linking.look import look
from fm_pipeline.images.linking.matching import PlannedImage
from fm_pipeline.images.linking.parallel import ARCHIVED, CircuitBreaker, in_parallel
from fm_pipeline.images.pictures import thumbnails
from fm_pipeline.storage.bucket import Bucket, ObjectExists, StoredObject
from fm_pipeline.storage.client import WRITABLE

FLUSH_SECONDS, FLUSH_ROWS = 0.5, 200  # what the ledger loses at a kill; the listing shows it all the same
FEW_PATIENTS = 100  # up to here a listing for each patient is cheaper than one of all
STEP = "check and copy images"
# A later run inspects these again: limits may have changed, or more memory may be free.
LIMITS = {"picture_too_large", "picture_too_many_pixels", "picture_no_memory"}

_log = logging.getLogger(__name__)

Result = TypeVar("Result")
OnProgress = Callable[[str, int, int | None, int], None]  # step, done, of how many, errors


class _Done(NamedTuple):
    """What was done with an image.

    Attributes:
        new: its file was inspected now, not by an earlier run.
        etag: of the copy; None if none was made, or the condition was refused.
        error: of the copy.
    """

    facts: InspectedFile
    new: bool
    etag: str | None = None
    error: PipelineError | None = None

    @property
    def reason(self) -> str | None:
        """Why the image is not copied; None if it is."""
        return failure_reason(self.error, "copy_failed") if self.error else self.facts.reason


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
        answered, failures = self._inspect_and_copy([each for each in planned if each.recid not in failed], targets)
        failed |= failures
        failed |= self._verify([each for each in planned if each.recid not in failed], answered)
        self._in_ledger(lambda cursor: copy_ledger.record_failed(cursor, list(failed.items()), self.now()))
        return failed

    def _inspect_and_copy(
        self, planned: Sequence[PlannedImage], targets: Mapping[str, StoredObject]
    ) -> tuple[dict[int, str], dict[int, str]]:
        """Inspect each file that was not inspected before, put its thumbnail beside the copy, and copy it.

        A file is copied as soon as it is known to be a picture: while some are decoded here, S3 copies others.

        Returns:
            ETags and failure reasons by record id. The later listing decides about refused conditions.
        """
        known = self._read(copy_ledger.read_inspected)
        answered: dict[int, str] = {}
        failed: dict[int, str] = {}
        todo = []
        for each in planned:
            facts = known.get((each.source.etag, each.source.size))
            if facts and facts.reason and facts.reason not in LIMITS:
                failed[each.recid] = facts.reason
            elif facts is None or facts.reason or not {each.thumbnail_key, each.target_key} <= targets.keys():
                todo.append(each)

        def work(each: PlannedImage) -> _Done:
            return self._process(each, known.get((each.source.etag, each.source.size)), targets)

        for each, result in self._each(work, todo):
            if isinstance(result, PipelineError):
                failed[each.recid] = failure_reason(result, "read_failed")
            elif reason := result.reason:
                failed[each.recid] = reason
            elif result.etag:
                answered[each.recid] = result.etag
        return answered, failed

    def _process(self, each: PlannedImage, known: InspectedFile | None, targets: Mapping[str, StoredObject]) -> _Done:
        """Inspect one file if it is not known or its thumbnail is missing, and copy it if it is a picture."""
        new = known is None or known.reason is not None or each.thumbnail_key not in targets
        facts = self._look(each, targets) if known is None or new else known
        if facts.reason or each.target_key in targets:
            return _Done(facts, new)
        try:
            return _Done(facts, new, self.bucket.copy(each.source, each.target_key, facts.mime_type))
        except ObjectExists:
            return _Done(facts, new)
        except PipelineError as error:
            return _Done(facts, new, error=error)

    def _look(self, each: PlannedImage, targets: Mapping[str, StoredObject]) -> InspectedFile:
        looked = look(self.bucket, each.source)
        if looked.thumbnail and each.thumbnail_key not in targets:
            self.bucket.put(each.thumbnail_key, looked.thumbnail, thumbnails.THUMBNAIL_MIME_TYPE)
        return looked.facts

    def _keep(self, portion: Sequence[tuple[PlannedImage, _Done]]) -> None:
        """Write what was done to the ledger, in one transaction."""
        facts = {(done.facts.etag, done.facts.size): done.facts for _, done in portion if done.new}
        copied = [(each.recid, done.etag) for each, done in portion if done.etag]

        def change(cursor: Cursor) -> None:
            copy_ledger.record_inspected(cursor, facts.values(), self.now())
            copy_ledger.record_copied(cursor, copied, self.now())

        self._in_ledger(change)

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
        self, work: Callable[[PlannedImage], _Done], planned: Sequence[PlannedImage]
    ) -> Iterator[tuple[PlannedImage, _Done | PipelineError]]:
        """Yield results of `work` as they arrive, and write them to the ledger in batches."""
        # Two breakers, because files that need no copy would hide that no copy can be made.
        looks, copies = CircuitBreaker(), CircuitBreaker()
        errors, last = 0, time.monotonic()
        portion: list[tuple[PlannedImage, _Done]] = []
        if planned:
            self.on_progress(STEP, 0, len(planned), 0)
        results = in_parallel(work, planned, self.concurrency, lambda each, result: portion.append((each, result)))
        try:
            for done, (each, result) in enumerate(results, start=1):
                if isinstance(result, PipelineError):
                    errors += 1
                    looks.record(result)
                else:
                    portion.append((each, result))
                    errors += result.error is not None
                    if result.new:
                        looks.record(None)
                    if result.error or result.etag:
                        copies.record(result.error)
                if len(portion) >= FLUSH_ROWS or time.monotonic() - last > FLUSH_SECONDS:
                    self._keep(portion)
                    portion, last = [], time.monotonic()
                self.on_progress(STEP, done, len(planned), errors)
                yield each, result
        finally:
            results.close()  # waits for the items at work
            if portion:
                self._keep(portion)

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


def failure_reason(error: PipelineError, otherwise: str) -> str:
    """Return the reason for an image whose file or copy failed.

    Args:
        otherwise: if S3 refused or did not answer.
    """
    if isinstance(error, UnforeseenError):
        _log.warning("%s", error.what)
        return "unexpected_error"
    code = error.code if isinstance(error, StorageError) else ""
    return "archived" if code == ARCHIVED else "source_changed" if code in {"NoSuchKey", "404"} else otherwise
