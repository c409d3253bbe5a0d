"""The two steps of the link: copy and verify files, then write rows to Nexus.

Each step can be repeated by itself: `copy_images` (S3 and the copy ledger) and `write_rows` (one short transaction in
Nexus). Both use the newest export (`store_export`) and the newest listing (`take_inventory`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import AdvisoryLock, try_lock
from fm_pipeline.errors import ImageStop, LockStop
from fm_pipeline.images.linking import copy_ledger
from fm_pipeline.images.linking.copier import Copier, OnProgress, different_targets, list_targets
from fm_pipeline.images.linking.inventory import Changes, changes_since, read_inventory
from fm_pipeline.images.linking.lost_copies import LostCopies, find_lost, restore_copies
from fm_pipeline.images.linking.matching import ERROR_REASONS, LinkPlan, PlannedImage, plan_link, thumbnail_key_of
from fm_pipeline.images.nexus.batch_and_image_values import CATEGORY_COLUMNS, NewImage, check_columns, text_limit
from fm_pipeline.images.nexus.image_index import read_image_index
from fm_pipeline.images.nexus.patient_index import PatientMatch, read_patient_index
from fm_pipeline.images.nexus.repair_batches import BatchRepair
from fm_pipeline.images.nexus.writer import ImageWriter, writing_images
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.table_names import IMAGES
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import Bucket, StoredObject


@dataclass(frozen=True)
class LinkOptions:
    """Options of a link."""

    dry_run: bool = False
    limit: int | None = None
    restore_removed: bool = False


@dataclass(frozen=True)
class CopyReport:
    """The result of the first step: the plan, and the outcome of the planned copies.

    Attributes:
        failed: reasons by record id, of planned images that are not verified.
        existing: how many planned copies existed before.
        batches_new: batches that the planned images need and Nexus does not have.
        bulk_changes: how the bulk dump differs from the inventory at the end.
        lost: copies of images linked before that were deleted from S3, and whether they are there again.
    """

    plan: LinkPlan
    failed: Mapping[int, str]
    existing: int
    batches_new: int
    bulk_changes: Changes
    lost: LostCopies = field(default_factory=LostCopies)

    @property
    def errors(self) -> dict[int, str]:
        """Reasons by record id, of all images that were refused, failed, or whose lost copy was not made again."""
        return {**self.plan.errors, **self.failed, **self.lost.failed}

    @property
    def verified(self) -> int:
        """Number of planned images whose copy is verified."""
        return len(self.plan.planned) - len(self.failed)

    @property
    def same_bytes(self) -> list[list[PlannedImage]]:
        """Groups of images with equal files, of those that did not fail."""
        groups = [[each for each in group if each.recid not in self.failed] for group in self.plan.same_bytes]
        return [group for group in groups if len(group) > 1]


@dataclass(frozen=True)
class RowsReport:
    """The result of the second step: what was written to Nexus."""

    linked: Sequence[int] = ()
    refused: Mapping[int, str] = field(default_factory=dict)
    batches_created: int = 0
    repaired: BatchRepair = field(default_factory=BatchRepair)

    @property
    def errors(self) -> dict[int, str]:
        """Those of the refused that somebody has to look into."""
        return {recid: reason for recid, reason in self.refused.items() if reason in ERROR_REASONS}

    @property
    def skipped(self) -> dict[int, str]:
        """The other refused ones."""
        return {recid: reason for recid, reason in self.refused.items() if reason not in ERROR_REASONS}


def copy_images(
    settings: Settings,
    bucket: Bucket,
    options: LinkOptions,
    *,
    now: Callable[[], datetime],
    on_progress: OnProgress,
) -> CopyReport:
    """Match, inspect the files, copy those that can be linked, verify by listing. Nexus is only read.

    Raises:
        LockStop: another link runs.
        CatalogueStop: Nexus' image tables need something that no rule fills; nothing was copied.
        ImageStop: no export was read, or this bulk dump was not listed.
        StorageError: S3 refuses everything; what was done is in the ledger, and the next run goes on from there.
    """
    with _hold_link_lock(settings), connect(settings.nexus_database_url.get_secret_value()) as connection:
        with connection.cursor() as cursor:
            _require_export_and_inventory(cursor, bucket)
            inventory = read_inventory(cursor)
            plan, batches_new, missing = _plan(cursor, settings, bucket, options, inventory)
            inspected = copy_ledger.read_inspected(cursor) if missing else {}
        connection.commit()
        lost = restore_copies(
            bucket,
            missing[: options.limit],
            inventory,
            inspected,
            workers=settings.s3_concurrency,
            dry_run=options.dry_run,
            on_progress=on_progress,
        )
        targets = list_targets(bucket, plan.planned)
        existing = sum(each.target_key in targets for each in plan.planned)
        failed: Mapping[int, str] = {}
        if options.dry_run:
            failed = different_targets(bucket, plan.planned, targets)
        else:
            if plan.planned:
                failed = Copier(bucket, connection, settings.s3_concurrency, now, on_progress).run(
                    plan.planned, targets
                )
            _record_outcomes(connection, plan, failed, lost)
        return CopyReport(plan, failed, existing, batches_new, changes_since(inventory, bucket), lost)


def _require_export_and_inventory(cursor: Cursor, bucket: Bucket) -> None:
    """Refuse to run without them: the link would find no image, and look as if it had nothing to do."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM fm_pipeline.image_exports), (SELECT (bucket, prefix) = (%s, %s)"
        " FROM fm_pipeline.bulk_dump_inventories ORDER BY listed_at DESC LIMIT 1)",
        (bucket.name, bucket.bulk_prefix),
    )
    has_export, is_listed = cursor.fetchone() or (False, None)
    if has_export and is_listed:
        return
    raise ImageStop(
        "The export of the images has never been read into this database."
        if not has_export
        else "The newest listing is of another bucket or folder than S3_BUCKET and S3_BULK_PREFIX name."
        if is_listed is False
        else "The bulk dump has never been listed.",
        meaning="Nothing was copied.",
        remedy="Launch link_images (or fm-pipeline images link), which does it in the right order; in the graph,"
        " materialize image_metadata_csv and bulk_dump_inventory first.",
    )


def _plan(
    cursor: Cursor, settings: Settings, bucket: Bucket, options: LinkOptions, inventory: Sequence[StoredObject]
) -> tuple[LinkPlan, int, list[tuple[copy_ledger.CopyRecord, bool]]]:
    """Return the plan, the number of batches it needs, and the lost copies of linked images."""
    catalogue = read_catalogue(cursor, settings.nexus_schema)
    check_columns(catalogue)
    images = catalogue.table(IMAGES)
    known = read_image_index(cursor, catalogue, bucket.bulk_prefix)
    plan = plan_link(
        copy_ledger.read_records(cursor.connection),
        inventory,
        bucket.bulk_prefix,
        read_patient_index(cursor, catalogue),
        known,
        limits={column: text_limit(catalogue, images, column) for column in (*CATEGORY_COLUMNS, "caption")},
        limit=options.limit,
        restore_removed=options.restore_removed,
    )
    batches = len({each.batch_id for each in plan.planned} - known.batches.keys())
    return plan, batches, find_lost(bucket, plan.already, partial(copy_ledger.read_copies, cursor.connection), known)


def _record_outcomes(connection: Connection, plan: LinkPlan, failed: Mapping[int, str], lost: LostCopies) -> None:
    """Store the outcome of each record. Records with a verified copy have none yet."""
    already = plan.already.keys() - lost.failed.keys()
    ends: list[tuple[int, str | None, str | None]] = [(recid, "already_linked", None) for recid in already]
    ends += [(recid, "error", reason) for recid, reason in lost.failed.items()]
    ends += [(recid, "skipped", reason) for recid, reason in plan.skipped.items()]
    ends += [(recid, "error", reason) for recid, reason in (plan.errors | dict(failed)).items()]
    ends += [(recid, "left", "limit") for recid in plan.left]
    ends += [(each.recid, None, None) for each in plan.planned if each.recid not in failed]
    with connection.cursor() as cursor:
        _update_outcomes(cursor, ends)
    connection.commit()


def _update_outcomes(cursor: Cursor, ends: Sequence[tuple[int, str | None, str | None]]) -> None:
    # One statement: each of several would read the whole table.
    if ends:
        cursor.execute(
            "UPDATE fm_pipeline.image_metadata m SET outcome = v.outcome, reason = v.reason"
            " FROM unnest(%s::bigint[], %s::text[], %s::text[]) v (recid, outcome, reason) WHERE m.recid = v.recid"
            " AND (m.outcome, m.reason) IS DISTINCT FROM (v.outcome, v.reason)",
            [list(column) for column in zip(*ends, strict=True)],
        )


_VERIFIED = """
SELECT m.recid, m.filemaker_id::text, m.patient_ref, m.taken, m.category, m.note, c.patient_key, c.batch_id::text,
       c.source_key, c.source_size, c.target_key, c.thumbnail_size, f.mime_type, f.width, f.height
FROM fm_pipeline.image_copies c JOIN fm_pipeline.image_metadata m USING (recid)
     JOIN fm_pipeline.image_files f ON f.etag = c.source_etag AND f.size = c.source_size
WHERE c.state = 'verified' AND m.outcome IS NULL ORDER BY m.recid
"""


def write_rows(
    settings: Settings, *, now: datetime, on_written: Callable[[Cursor, RowsReport], None] = lambda *_: None
) -> RowsReport:
    """Write batches and images of the verified copies, and give orphaned batches their patient back: all or nothing.

    Args:
        on_written: called in the transaction, when all is written: it stores what the history says of it.

    Raises:
        LockStop, CatalogueStop, ValidationStop: see `writing_images`; Nexus is unchanged.
    """
    with writing_images(settings) as writer:
        repaired = writer.repair_batches()
        images = _verified_images(writer)
        recids = [image.recid or 0 for image in images]
        written = writer.write(images, now)
        ids = [(recids[position], own_id) for position, own_id in written.image_ids.items()]
        copy_ledger.record_linked(writer.cursor, ids, now)
        refused = {recids[position]: reason for position, reason in written.refused.items()}
        report = RowsReport([recids[n] for n in written.inserted], refused, len(written.batches_created), repaired)
        new = set(written.inserted)
        _update_outcomes(
            writer.cursor,
            [(recids[n], "linked" if n in new else "already_linked", None) for n in written.image_ids]
            + [(recid, "skipped", reason) for recid, reason in report.skipped.items()]
            + [(recid, "error", reason) for recid, reason in report.errors.items()],
        )
        on_written(writer.cursor, report)
    return report


def _verified_images(writer: ImageWriter) -> list[NewImage]:
    """Return the images whose copy is verified and still matches the export."""
    snapshot = writer.snapshot()
    patients, known = snapshot.patients, snapshot.known
    writer.cursor.execute(_VERIFIED)
    images = []
    for (
        recid, filemaker_id, reference, taken, category, note, patient_key, batch, source_key, size, target_key,
        thumbnail_size, mime_type, width, height,
    ) in writer.cursor.fetchall():  # fmt: skip
        patient = patients.resolve(reference)
        if isinstance(patient, PatientMatch) and (
            patient.key != patient_key or known.batch_for(patient.nexus_id, patient.key, taken) != batch
        ):
            continue  # the export was replaced since; the next run plans it again
        image = NewImage(
            patient=reference,
            batch_id=batch,
            taken=taken,
            s3_key=target_key,
            original_name=PurePosixPath(source_key).name,
            size=size,
            mime_type=mime_type,
            recid=recid,
            filemaker_id=filemaker_id,
            category=category,
            caption=note,
            width=width,
            height=height,
            thumbnail_key=thumbnail_key_of(target_key),
            thumbnail_size=thumbnail_size,
        )
        images.append(image)
    return images


def missing_objects(settings: Settings, bucket: Bucket) -> list[int]:
    """Return record ids of linked images whose copy is missing from a new listing, or has another size."""
    with connect(settings.nexus_database_url.get_secret_value()) as connection:
        copies = copy_ledger.read_copies(connection)
        linked = {row.target_key: (row.source_size, row.recid) for row in copies if row.state == "linked"}
    for found in bucket.list("patients/") if linked else ():
        if found.key in linked and found.size == linked[found.key][0]:
            del linked[found.key]
    return sorted(recid for _, recid in linked.values())


@contextmanager
def _hold_link_lock(settings: Settings) -> Iterator[None]:
    """One link at a time; the lock goes with its connection."""
    with connect(settings.nexus_database_url.get_secret_value()) as gate, gate.cursor() as cursor:
        if not try_lock(cursor, AdvisoryLock("images")):
            raise LockStop(
                "Another link of images runs.",
                meaning="This one has changed nothing.",
                remedy="Wait until it has ended; the runs page of Dagster shows it.",
            )
        yield
