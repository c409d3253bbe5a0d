"""Find where FileMaker's marks, rows of Nexus and files in S3 disagree, and repair what is requested.

In the field 6,577 records had a mark while the bucket had 1,000 files: marks had been set although uploads failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.errors import FileMakerError, PipelineError, unforeseen
from fm_pipeline.filemaker.connect import open_client
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.containers import ContainerDownloads
from fm_pipeline.filemaker.errors import RecordChanged, RecordInUse
from fm_pipeline.images.containers.backoff import Backoff
from fm_pipeline.images.containers.best_container import Waterfall
from fm_pipeline.images.containers.choices import DISAGREEMENTS, DisagreementKind
from fm_pipeline.images.containers.import_ledger import ImportLedger
from fm_pipeline.images.containers.marker import Marker
from fm_pipeline.images.containers.nexus_view import NexusView
from fm_pipeline.images.containers.odata_files import ODataFiles, open_odata_files
from fm_pipeline.images.containers.source import ImageLayout, SourceImage, find_layout, read_all_images, read_image
from fm_pipeline.settings import Settings
from fm_pipeline.staging.values.keys import is_uuid
from fm_pipeline.storage.bucket import Bucket, open_bucket
from fm_pipeline.storage.client import WRITABLE


@dataclass
class Reconciliation:
    """Disagreements and repairs.

    Attributes:
        records: number of FileMaker's records that were compared.
        found: FileMaker's record ids by kind, in their order.
        repaired: those of them that are right now.
        not_repaired: record id -> why.
        stopped: why the repair ended early.
    """

    records: int = 0
    found: dict[DisagreementKind, list[int]] = field(default_factory=dict)
    repaired: dict[DisagreementKind, list[int]] = field(default_factory=dict)
    not_repaired: dict[int, str] = field(default_factory=dict)
    stopped: PipelineError | None = None


def reconcile(
    settings: Settings,
    *,
    repair: Collection[DisagreementKind] = (),
    limit: int | None = None,
    on_progress: Callable[[str, int, int | None], None] = lambda *_: None,
    on_message: Callable[[str], object] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Reconciliation:
    """Compare the three, and repair the given kinds.

    Args:
        limit: of repairs.
        on_progress: step, done, total.

    Raises:
        PipelineError: before anything is repaired.
    """
    url = settings.nexus_database_url.get_secret_value()
    bucket = open_bucket(settings)
    profile = load_profile(settings.filemaker_profile)
    bucket.check_access()  # not after all of FileMaker was read
    migrate(url)
    with ExitStack() as stack:
        client = stack.enter_context(open_client(settings))
        ledger = ImportLedger(stack.enter_context(connect(url)))
        ledger.acquire_lock()
        layout = find_layout(client, profile)
        view = NexusView(stack.enter_context(connect(url)), settings, written=False)
        images = read_all_images(
            client,
            layout,
            page_size=settings.filemaker_page_size,
            on_progress=lambda done, total: on_progress("read FileMaker", done, total),
        )
        files = {
            found.key: found.size for prefix in (WRITABLE, settings.s3_bulk_prefix) for found in bucket.list(prefix)
        }
        found = compare(images, view, bucket, files, ledger.imported())
        todo = [(kind, number) for kind in DISAGREEMENTS if kind in repair for number in found.found.get(kind, [])][
            :limit
        ]
        zone = ZoneInfo(settings.clinic_time_zone)
        odata = open_odata_files(settings, profile, stack)
        worker = _RepairWorker(client, layout, bucket, view, lambda: datetime.now(zone), odata)
        backoff = Backoff(
            settings.filemaker_image_pause_seconds,
            settings.filemaker_image_failures,
            sleep=sleep,
            on_message=on_message,
        )
        try:
            for done, (kind, number) in enumerate(todo, 1):
                _repair_one(worker, kind, number, found, backoff)
                on_progress("repair", done, len(todo))
        except PipelineError as error:
            found.stopped = error
    return found


def compare(
    images: Sequence[SourceImage], view: NexusView, bucket: Bucket, files: dict[str, int], imported: Mapping[int, str]
) -> Reconciliation:
    """Return the disagreements.

    Args:
        images: every record of FileMaker.
        files: keys and sizes below `patients/` and in the bulk dump.
        imported: FileMaker's ids by record id, of images that an import has written into Nexus. In a clone of the file
            the records have other record ids, and their old ones may be those of others.
    """
    result = Reconciliation(records=len(images))
    had = {key for key in imported.values() if key} | view.known.gone_uuids.keys()
    dumped = {key.rpartition("/")[2].partition(".")[0] for key in files if key.startswith(bucket.bulk_prefix)}
    for image in images:
        kind = _kind(image, view, bucket, files, dumped)
        if kind == "mark_without_file" and (
            image.key in had if image.key else imported.get(image.record_id) == image.key
        ):
            kind = "removed_in_nexus"
        if kind:
            result.found.setdefault(kind, []).append(image.record_id)
    return result


def _kind(
    image: SourceImage, view: NexusView, bucket: Bucket, files: dict[str, int], dumped: set[str]
) -> DisagreementKind | None:
    image_id = _image_id(image, view)
    row = view.row(image_id) if image_id else None
    if row:
        size = files.get(row.s3_key)
        if size is None and not row.s3_key.startswith((WRITABLE, bucket.bulk_prefix)):
            seen = bucket.find(row.s3_key)
            size = seen.size if seen else None
        if not size or size != (row.size or size):
            return "row_without_file"
        return None if image.marked else "file_without_mark"
    if not image.marked:
        return None
    return "mark_without_row" if str(image.recid) in dumped else "mark_without_file"


def _image_id(image: SourceImage, view: NexusView) -> str | None:
    """The image of Nexus, whoever its patient is: the question here is only whether it is there."""
    patient = view.patient_of(image)
    owner = None if isinstance(patient, str) else patient.nexus_id
    known = view.known.find(image.recid, image.key if is_uuid(image.key) else None, owner, image.taken)
    return known.id if known and not view.known.has_another_uuid(known, image.key) else None


@dataclass
class _RepairWorker:
    client: DataApiClient
    layout: ImageLayout
    bucket: Bucket
    view: NexusView
    now: Callable[[], datetime]
    odata: ODataFiles | None

    def __post_init__(self) -> None:
        self._waterfall = Waterfall(self.client, self.layout, ContainerDownloads(self.client), self.odata)

    def do(self, kind: DisagreementKind, record_id: int) -> str | None:
        """Read one record again and repair it. Return why it was not repaired, or None."""
        record = self.client.record(self.layout.name, record_id)
        if record is None:
            return "deleted meanwhile"
        image = read_image(self.layout, record)
        image_id = _image_id(image, self.view)
        if kind in {"mark_without_file", "removed_in_nexus"}:
            return self._take_the_mark_away(image, image_id)
        if image_id is None:
            return "changed meanwhile"
        if kind == "row_without_file":
            return self._bring_the_file(image, image_id)
        done = Marker(self.client, self.layout, self.bucket, self.view).mark(image, image_id, self.now())
        return None if done == "marked" else done

    def _take_the_mark_away(self, image: SourceImage, image_id: str | None) -> str | None:
        if image_id is not None or not image.marked:
            return "changed meanwhile"
        try:
            self.client.edit(self.layout.name, image.record_id, {self.layout.mark.name: ""}, image.mod_id)
        except (RecordChanged, RecordInUse):
            return "somebody edits the record"
        return None

    def _bring_the_file(self, image: SourceImage, image_id: str) -> str | None:
        """Upload the file of a row, if its size is that in the row."""
        row = self.view.row(image_id)
        patient = self.view.patient_of(image)
        if row is None or isinstance(patient, str) or patient.nexus_id != row.patient_id:
            return "Nexus and FileMaker do not name the same patient"
        if not row.s3_key.startswith(WRITABLE):
            return "the key of the row is not below patients/"
        if self.bucket.find(row.s3_key):
            return "another file has the place"
        if not image.containers:
            return "all containers are empty"
        best = self._waterfall.best(image, tried=0)
        if row.size not in {None, len(best.content)}:
            return "the picture in FileMaker is not the one that the row tells of"
        self.bucket.put(row.s3_key, best.content, best.picture.mime_type)
        return None


def _repair_one(
    worker: _RepairWorker, kind: DisagreementKind, record_id: int, result: Reconciliation, backoff: Backoff
) -> None:
    try:
        refused = worker.do(kind, record_id)
    except FileMakerError as error:
        result.not_repaired[record_id] = error.what
        backoff.record_failure(error)
        return
    except Exception as error:  # noqa: BLE001  # a library may raise anything; it concerns this record alone
        known = error if isinstance(error, PipelineError) else unforeseen(error)
        result.not_repaired[record_id] = known.what
        backoff.record_failure()
        return
    backoff.record_success()
    if refused:
        result.not_repaired[record_id] = refused
    else:
        result.repaired.setdefault(kind, []).append(record_id)
