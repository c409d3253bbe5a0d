"""Import images from FileMaker's containers into S3 and Nexus, in small batches.

The order of the steps is fixed, and each can be killed and repeated: the list → the file in S3, verified → its row in
Nexus, committed → the mark in FileMaker. So there is no mark without a file, and no file is stored twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Self
from zoneinfo import ZoneInfo

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.errors import PipelineError, StorageError, UnforeseenError, unforeseen
from fm_pipeline.filemaker.connect import open_client
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.containers import ContainerDownloads
from fm_pipeline.images.containers import import_ledger
from fm_pipeline.images.containers.backoff import Backoff
from fm_pipeline.images.containers.best_container import NoReadableContainer, OutOfMemory, RepeatedContainer, Waterfall
from fm_pipeline.images.containers.choices import BATCH_SIZE
from fm_pipeline.images.containers.import_ledger import ImportItem, ImportLedger
from fm_pipeline.images.containers.marker import Marker, RecordAsRead
from fm_pipeline.images.containers.nexus_view import ImageInNexus, ImageToImport, NexusView
from fm_pipeline.images.containers.odata_files import ODataFiles, open_odata_files
from fm_pipeline.images.containers.reasons import FAILED
from fm_pipeline.images.containers.report import ImportReport, RecordOutcome
from fm_pipeline.images.containers.source import ImageLayout, SourceImage, find_layout, list_unmarked, read_image
from fm_pipeline.images.containers.upload import object_has_content, upload_image
from fm_pipeline.images.nexus.writer import writing_images
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import Bucket, ObjectExists, open_bucket

_log = logging.getLogger(__name__)

ItemWithImage = tuple[ImportItem, SourceImage]


@dataclass
class Callbacks:
    """What a caller can observe or replace.

    Attributes:
        progress: records done, and of how many.
        on_message: a sentence about a pause.
        step: the name of each step that is done; tests end the run there.
        sleep, now: the clock; `now` with a time zone.
    """

    progress: Callable[[int, int], None] = lambda *_: None
    on_message: Callable[[str], object] = lambda _: None
    step: Callable[[str], None] = lambda _: None
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def import_images(
    settings: Settings,
    *,
    limit: int | None = None,
    batch_size: int = BATCH_SIZE,
    dry_run: bool = False,
    run_id: str | None = None,
    callbacks: Callbacks | None = None,
) -> ImportReport:
    """Import the images whose mark is empty.

    Args:
        limit: number of records to process; None for all.
        batch_size: images in a transaction.
        dry_run: read and decide only; nothing is downloaded or written.
        run_id: of the Dagster run, if there is one.

    Returns:
        The report. `stopped` says why the run ended early, if it did.

    Raises:
        PipelineError: before the first download: settings, layout, list, or another run.
    """
    callbacks = callbacks or Callbacks()
    url = settings.nexus_database_url.get_secret_value()
    bucket = open_bucket(settings)
    profile = load_profile(settings.filemaker_profile)
    bucket.check_access()  # not after the first downloads
    migrate(url)
    with ExitStack() as stack:
        client = stack.enter_context(open_client(settings))
        ledger = ImportLedger(stack.enter_context(connect(url)))
        ledger.acquire_lock()
        layout = find_layout(client, profile)
        view = NexusView(stack.enter_context(connect(url)), settings)
        listed = list_unmarked(client, layout, page_size=settings.filemaker_page_size)
        callbacks.step("list")
        report = ImportReport(
            len(listed), tuple(each.name for each in layout.containers), layout.missing, dry_run=dry_run
        )
        odata = open_odata_files(settings, profile, stack)
        run = _ImportRun(settings, client, layout, bucket, view, ledger, report, callbacks, batch_size, odata)
        if dry_run:
            run.preview([each.record_id for each in listed][:limit])
            report.left = len(listed)
            return report
        ledger.replace_list(listed, layout.name, client.source, run_id=run_id, now=callbacks.now())
        with run.until_stopped():
            run.work(ledger.queue(limit))
        report.left, report.all_runs = ledger.count_left(), ledger.count_by_container()
    return report


@dataclass
class _ImportRun:
    settings: Settings
    client: DataApiClient
    layout: ImageLayout
    bucket: Bucket
    view: NexusView
    ledger: ImportLedger
    report: ImportReport
    callbacks: Callbacks
    batch_size: int
    odata: ODataFiles | None
    _again: list[int] = field(default_factory=list)  # retried at the end of the run

    def __post_init__(self) -> None:
        self._waterfall = Waterfall(self.client, self.layout, ContainerDownloads(self.client), self.odata)
        self._zone = ZoneInfo(self.settings.clinic_time_zone)
        self._backoff = Backoff(
            self.settings.filemaker_image_pause_seconds,
            self.settings.filemaker_image_failures,
            sleep=self.callbacks.sleep,
            on_message=self.callbacks.on_message,
        )

    @contextmanager
    def until_stopped(self) -> Iterator[Self]:
        """Catch an error that ends the run, and store it in the report."""
        try:
            yield self
        except PipelineError as error:
            self.report.stopped = error

    # -- the dry run

    def preview(self, record_ids: Sequence[int]) -> None:
        """Decide about records without changing anything."""
        for done, record_id in enumerate(record_ids, 1):
            record = self.client.record(self.layout.name, record_id)
            image = read_image(self.layout, record) if record else None
            decided = self.view.decide(image) if image else "gone"
            if isinstance(decided, ImageToImport) and image:
                end = RecordOutcome("imported", container=image.containers[0].field)
            elif isinstance(decided, ImageInNexus):
                end = RecordOutcome("already_linked")
            else:
                end = _refused(str(decided))
            self.report.outcomes[record_id] = end
            self.callbacks.progress(done, len(record_ids))

    # -- the run

    def work(self, record_ids: Sequence[int]) -> None:
        """Process every record, and once more those that were open or whose download broke off."""
        total = len(record_ids)
        self.callbacks.progress(0, total)
        for second in (False, True):
            todo = self._again if second else record_ids
            self._again = []
            for start in range(0, len(todo), self.batch_size):
                if start or second:
                    self.callbacks.sleep(self.settings.filemaker_image_rest_seconds)
                self._batch(todo[start : start + self.batch_size])
                self.callbacks.progress(total if second else min(start + self.batch_size, total), total)

    def _batch(self, record_ids: Sequence[int]) -> None:
        self.view.refresh()
        fetched: list[ItemWithImage] = []
        unmarked: list[ItemWithImage] = []
        try:
            for item in self.ledger.items(record_ids):
                self.ledger.record_attempt(item.record_id, self.callbacks.now())
                self._fetch(item, fetched, unmarked)
        except PipelineError:  # the run ends here; files that are in S3 still get their rows
            self._link(fetched)
            raise
        for item, image in [*self._link(fetched), *unmarked]:
            self._mark(item, image)

    def _fetch(
        self,
        item: ImportItem,
        fetched: list[ItemWithImage],
        unmarked: list[ItemWithImage],
    ) -> None:
        """Process one record. A failure ends this record only."""
        try:
            self._bring(item, fetched, unmarked)
        except NoReadableContainer as error:
            self._finish(item, RecordOutcome("failed", reason="not_readable", passed_over=error.passed_over))
            self._backoff.record_failure()
        except RepeatedContainer:
            self._finish(item, RecordOutcome("skipped", reason="several_pictures"))
        except ObjectExists:
            self._finish(item, RecordOutcome("failed", reason="target_differs"))
        except Exception as fault:  # noqa: BLE001  # a library may raise anything
            ours = _as_pipeline_error(item.record_id, fault)
            self._finish(item, RecordOutcome("failed", reason=_failure_reason(ours)))
            self._backoff.record_failure(ours)
            if not isinstance(ours, UnforeseenError):
                self._again.append(item.record_id)
        else:
            self._backoff.record_success()

    def _bring(
        self,
        item: ImportItem,
        fetched: list[ItemWithImage],
        unmarked: list[ItemWithImage],
    ) -> None:
        """Read the record, decide, and upload its file if Nexus does not have it."""
        record = self.client.record(self.layout.name, item.record_id)
        image = read_image(self.layout, record) if record else None
        if image is None or image.marked:
            self._gone(item, marked=image is not None)
            return
        if any(self._carries(other, item.key) for other in self.ledger.records_with_same_id(item.key, item.record_id)):
            self._finish(item, RecordOutcome("skipped", reason="id_twice"))
            return
        decided = self.view.decide(image)
        if isinstance(decided, ImageInNexus):
            if self._belongs(item, decided):
                unmarked.append((replace(item, image_id=decided.image_id), image))
        elif isinstance(decided, ImageToImport):
            fetched.append((self._store(item, image, decided), image))
        else:
            self._finish(item, _refused(decided))

    def _carries(self, record_id: int, key: str) -> bool:
        """Whether a record still has this id; in a clone of FileMaker's file the record ids differ."""
        record = self.client.record(self.layout.name, record_id)
        return record is not None and read_image(self.layout, record).key == key

    def _store(self, item: ImportItem, image: SourceImage, take: ImageToImport) -> ImportItem:
        """Return the item with its file in S3, uploaded by an earlier run or now."""
        if item.state == "uploaded" and item.image and self._is_as_stored(item, image, take):
            return item
        best = self._waterfall.best(image, tried=item.attempts)
        self.callbacks.step("download")
        stored = upload_image(self.bucket, take, image, best)
        self.callbacks.step("upload")
        item = replace(
            item,
            image=stored.image,
            etag=stored.etag,
            container=best.container,
            passed_over=best.passed_over,
            mod_id=image.mod_id,
        )
        self.ledger.record_upload(item, self.callbacks.now())
        self.callbacks.step("ledger")
        return item

    def _is_as_stored(self, item: ImportItem, image: SourceImage, take: ImageToImport) -> bool:
        """Whether the upload of an earlier run still exists, and still matches the record."""
        was = item.image
        if was is None or (was.batch_id, was.taken, was.category) != (take.batch_id, image.taken, image.category):
            return False
        if item.mod_id != image.mod_id:  # perhaps the picture was replaced
            return False
        found = self.bucket.find(was.s3_key)
        return found is not None and (found.size, found.etag) == (was.size, item.etag)

    def _belongs(self, item: ImportItem, have: ImageInNexus) -> bool:
        """Whether an image of Nexus belongs to this record and to no other."""
        owner = self.ledger.owner_of(have.image_id)
        if owner is not None and owner != item.record_id and (not item.key or self._carries(owner, item.key)):
            self._finish(item, RecordOutcome("skipped", reason="id_twice"))
            return False
        self.ledger.record_already_linked(item.record_id, have.image_id, self.callbacks.now())
        return True

    def _link(self, fetched: Sequence[ItemWithImage]) -> list[ItemWithImage]:
        """Write rows to Nexus and the ledger, in one transaction."""
        if not fetched:
            return []
        now = self.callbacks.now()
        with writing_images(self.settings, self.view.snapshot) as writer:
            written = writer.write([item.image for item, _ in fetched if item.image], now)
            own: dict[str, int] = {}
            for position, image_id in written.image_ids.items():
                own.setdefault(image_id, position)  # of two records that name one image none but the first is it
            import_ledger.record_linked(
                writer.cursor,
                [(fetched[position][0].record_id, image_id) for image_id, position in own.items()],
                now,
            )
            self.callbacks.step("link")
        self.callbacks.step("commit")
        self.view.refresh()
        record_linked = []
        for position, (item, image) in enumerate(fetched):
            made = written.image_ids.get(position)
            if made is not None and own[made] == position:
                record_linked.append((replace(item, image_id=made), image))
            else:
                self._finish(item, _refused(written.refused.get(position, "id_twice")))
        return record_linked

    def _mark(self, item: ImportItem, image: SourceImage) -> None:
        if item.image_id is None:
            raise ValueError("only a linked image is marked")
        now = self.callbacks.now()
        marker = Marker(self.client, self.layout, self.bucket, self.view)
        seen = None if item.mod_id is None else RecordAsRead(item.mod_id, partial(self._still_shows, item))
        try:
            done = marker.mark(image, item.image_id, now.astimezone(self._zone), seen)
        except Exception as fault:  # noqa: BLE001  # a library may raise anything
            self._finish(item, RecordOutcome("failed", reason="not_marked"), state="linked")
            self._backoff.record_failure(_as_pipeline_error(item.record_id, fault))
            self._again.append(item.record_id)
            return
        self.callbacks.step("mark")
        if done == "marked":
            self._done(item)
        elif done == "in_use":
            self._finish(item, RecordOutcome("in_use"), state="linked")
            self._again.append(item.record_id)
        elif done == "gone":
            self._gone(item, marked=False)
        else:
            self._finish(item, RecordOutcome("failed", reason=done), state="linked")

    def _still_shows(self, item: ImportItem, image: SourceImage, s3_key: str) -> bool:
        """Whether the container still has the file that is in S3. It is downloaded for the comparison."""
        same = tuple(cell for cell in image.containers if item.container in {None, cell.field})
        try:
            best = self._waterfall.best(replace(image, containers=same), tried=0)  # a download that fails says nothing
        except (NoReadableContainer, RepeatedContainer):
            return False
        return object_has_content(self.bucket, s3_key, best.content)

    # -- ends

    def _gone(self, item: ImportItem, *, marked: bool) -> None:
        """Handle a record that was deleted or has a mark, possibly our own, whose answer was lost."""
        if marked and item.state == "linked":
            self._done(item)
            return
        self.ledger.record_outcome(item.record_id, "gone", "gone")
        self.report.outcomes[item.record_id] = RecordOutcome("skipped", reason="gone")

    def _done(self, item: ImportItem) -> None:
        self.ledger.record_marked(item.record_id, self.callbacks.now())
        self.callbacks.step("done")
        if item.container:
            outcome = RecordOutcome("imported", item.container, passed_over=item.passed_over)
        else:
            outcome = RecordOutcome("already_linked")
        self.report.outcomes[item.record_id] = outcome

    def _finish(self, item: ImportItem, end: RecordOutcome, *, state: import_ledger.ImportState | None = None) -> None:
        if state is None:
            state = "failed" if end.reason in FAILED else "skipped"
        self.ledger.record_outcome(item.record_id, state, end.reason or end.kind, end.passed_over)
        self.report.outcomes[item.record_id] = end


def _refused(reason: str) -> RecordOutcome:
    return RecordOutcome("failed" if reason in FAILED else "skipped", reason=reason)


def _as_pipeline_error(record_id: int, fault: Exception) -> PipelineError:
    """Return the error as a PipelineError; an unexpected one is logged by its class and place."""
    if isinstance(fault, PipelineError):
        return fault
    error = unforeseen(fault)
    _log.warning("Record %s: %s", record_id, error.what)
    return error


def _failure_reason(error: PipelineError) -> str:
    """Return the reason of a failed record."""
    kinds = {OutOfMemory: "no_memory", UnforeseenError: "unexpected_error", StorageError: "not_stored"}
    return next((reason for kind, reason in kinds.items() if isinstance(error, kind)), "does_not_come")
