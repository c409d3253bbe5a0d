"""The link of the bulk dump: export and listing, then copies that were verified, then rows of Nexus."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import dagster as dg
from psycopg2.extensions import cursor as Cursor
from pydantic import Field

from fm_pipeline.db.audit import audited
from fm_pipeline.db.run_reports import add_run_report, store_run_report
from fm_pipeline.defs.assets.image_charts import image_charts
from fm_pipeline.defs.assets.metadata import row_count
from fm_pipeline.defs.assets.own_run import System
from fm_pipeline.defs.assets.tables import own_table, tables_of_assets
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import IMAGE_LINK, OWNERS, POOL
from fm_pipeline.defs.requester import requester
from fm_pipeline.defs.resources import NexusTarget, PatientFiles
from fm_pipeline.errors import PipelineError, SettingsError
from fm_pipeline.filemaker.exports.encoding import ENCODINGS, Encoding
from fm_pipeline.folders import make_private_folder
from fm_pipeline.images.exports.metadata_table import count_export, read_rejects, store_export
from fm_pipeline.images.exports.reader import read_export, write_csv
from fm_pipeline.images.linking.inventory import take_inventory
from fm_pipeline.images.linking.review_lists import write_lists, write_not_linked
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.settings import Settings

if TYPE_CHECKING:
    from fm_pipeline.images.linking.report import LinkReport
    from fm_pipeline.images.linking.steps import CopyReport, RowsReport

SHOWN = 20  # record ids in a check's description
SYSTEM = System(
    "The image link",
    job="link_images",
    group=IMAGE_LINK,
    assets=frozenset(
        map(
            dg.AssetKey,
            (
                "image_metadata_csv",
                "bulk_dump_inventory",
                "patient_image_copies",
                "linked_image_batches",
                "linked_images",
            ),
        )
    ),
)


class ExportConfig(dg.Config):
    """How the export is read."""

    dates: Literal["proved", "mdy", "dmy"] = Field(
        default="proved", description="Order of the dates: month first, day first, or as one of them proves it."
    )
    encoding: str | None = Field(default=None, description="The export's encoding; found out if not given.")
    columns: list[str] | None = Field(default=None, description="Names of the columns of an export without a header.")
    ignore_file_names: bool = Field(default=False, description="fileName is no name of the bulk dump; not compared.")


class LinkConfig(dg.Config):
    """How much is linked."""

    dry_run: bool = Field(default=False, description="Show what would be linked; copy nothing, write nothing.")
    limit: int | None = Field(default=None, description="At most so many images that are not linked yet.")
    restore_removed: bool = Field(default=False, description="Link again what somebody removed in Nexus.")


@dg.asset(
    group_name=IMAGE_LINK,
    description="FileMaker's export of the images in the bulk dump (IMAGE_EXPORT_FILE), as the CSV"
    " recid,id_Contact,date,Type,Note and as a table. Every record ends as a row or as a reject with its reason.",
    kinds={"csv", "postgres"},
    metadata=own_table("image_metadata"),
    owners=OWNERS,
    pool=POOL,
)
def image_metadata_csv(
    context: dg.AssetExecutionContext, config: ExportConfig, nexus: NexusTarget
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows only the bare class
    """Read, write the CSV, fill the table."""
    settings = nexus.settings
    with explained():
        SYSTEM.refuse_wider_selection(context)
        if settings.image_export_file is None:
            raise SettingsError(
                "IMAGE_EXPORT_FILE is not set.", remedy="Name FileMaker's export of the images in the bulk dump."
            )
        export = read_export(
            settings.image_export_file,
            encoding=_encoding(config.encoding),
            columns=config.columns,
            ignore_file_names=config.ignore_file_names,
        )
        folder = settings.state_dir / "images"
        make_private_folder(folder)
        csv_file = folder / "filemaker_images_metadata.csv"
        write_csv(csv_file, export)
        with nexus.connect() as connection:
            store_export(connection, export, now=datetime.now(UTC), run_id=context.run.run_id, dates=config.dates)
    return dg.MaterializeResult(
        metadata=row_count(
            len(export),
            found=export.found,
            repeated=export.repeated,
            rejected=len(export.rejects),
            rejected_by_reason=dg.MetadataValue.json(export.rejects_by_reason),
            additional_lines=export.additional,
            format=export.format,
            encoding=export.encoding,
            csv=dg.MetadataValue.path(str(csv_file)),
        )
    )


def _encoding(name: str | None) -> Encoding | None:
    if name is None or name in ENCODINGS:
        return name
    raise SettingsError(f"There is no encoding of that name; there are {', '.join(ENCODINGS)}.")


@dg.asset(
    group_name=IMAGE_LINK,
    description="The listing of the bulk dump. It is a backup: read, copied from, and never written to.",
    kinds={"s3", "postgres"},
    metadata=own_table("bulk_dump_objects"),
    owners=OWNERS,
    pool=POOL,
)
def bulk_dump_inventory(
    context: dg.AssetExecutionContext, nexus: NexusTarget, s3: PatientFiles
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows only the bare class
    """List it."""
    with explained():
        SYSTEM.refuse_wider_selection(context)
    with explained(), nexus.connect() as connection:
        inventory = take_inventory(
            connection,
            s3.bucket(),
            now=datetime.now(UTC),
            run_id=context.run.run_id,
        )
    return dg.MaterializeResult(
        metadata=row_count(
            inventory.objects,
            bytes=inventory.bytes,
            not_called_by_a_record_id=inventory.without_recid,
            digest=inventory.digest,
        )
    )


@dg.asset(
    group_name=IMAGE_LINK,
    # The patients as lineage only: an image is matched with them, and no job selects them with it.
    deps=[image_metadata_csv, bulk_dump_inventory, "patients"],
    description="Each file looked into once, copied inside S3 to its patient's folder, and verified by a listing; with"
    " a thumbnail. A dry run shows what it would be, and what comes after it is left out.",
    kinds={"s3"},
    owners=OWNERS,
    pool=POOL,
    output_required=False,
    check_specs=[
        dg.AssetCheckSpec(
            "bulk_dump_unchanged",
            asset="patient_image_copies",
            description="The bulk dump is what it was, key by key and ETag by ETag.",
        ),
        dg.AssetCheckSpec(
            "no_image_failed", asset="patient_image_copies", description="No image was refused or failed."
        ),
    ],
)
def patient_image_copies(
    context: dg.AssetExecutionContext, config: LinkConfig, nexus: NexusTarget, s3: PatientFiles
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Match, check, copy, verify."""
    from fm_pipeline.images.linking.report import make_report  # noqa: PLC0415  # slow to import
    from fm_pipeline.images.linking.steps import LinkOptions, copy_images  # noqa: PLC0415

    with explained():
        SYSTEM.refuse_wider_selection(context)
        settings: Settings = nexus.prepare().settings
    with (
        explained(),
        nullcontext() if config.dry_run else _audited(context, settings),
        run_progress(settings, context.run.run_id, log=context.log.info) as progress,
    ):
        copied = copy_images(
            settings,
            s3.bucket(),
            LinkOptions(config.dry_run, config.limit, config.restore_removed),
            now=lambda: datetime.now(UTC),
            on_progress=lambda step, done, total, errors: progress.update(step, done, total, errors=errors),
        )
    with explained(), nexus.connect() as connection, connection.cursor() as cursor:
        found, not_used, files = count_export(cursor)
        lists = settings.state_dir / "images"
        write_lists(lists, read_rejects(cursor), copied)
    report = make_report(found, not_used, copied, None, files)
    metadata = row_count(
        copied.verified,
        **_metadata(report),
        copies_there_before=copied.existing,
        lists=dg.MetadataValue.path(str(lists)),
    )
    if config.dry_run:
        url = settings.nexus_database_url.get_secret_value()
        store_run_report(url, context.run.run_id, "image_link", asdict(report), dry_run=True)
        context.log.info("\n".join(report.lines()))
        context.log_event(dg.AssetObservation("patient_image_copies", metadata=metadata | {"dry_run": True}))
    else:
        yield dg.MaterializeResult(metadata=metadata)
    yield from _checks(copied)


def _audited(context: dg.AssetExecutionContext, settings: Settings) -> AbstractContextManager[None]:
    url, actor = settings.nexus_database_url.get_secret_value(), requester(context, settings)
    return audited(url, actor=actor, action="image_link", run_id=context.run.run_id)


def _checks(copied: "CopyReport") -> Iterator[dg.AssetCheckResult]:
    changes = copied.bulk_changes
    yield dg.AssetCheckResult(
        asset_key="patient_image_copies",
        check_name="bulk_dump_unchanged",
        passed=not changes,
        description=f"{len(changes.added)} added, {len(changes.removed)} removed, {len(changes.changed)} changed"
        " since the inventory, by somebody else: the pipeline's client cannot.",
    )
    errors = copied.errors
    words = [f"{recid} ({reason})" for recid, reason in sorted(errors.items())[:SHOWN]]
    yield dg.AssetCheckResult(
        asset_key="patient_image_copies",
        check_name="no_image_failed",
        passed=not errors,
        severity=dg.AssetCheckSeverity.WARN,  # the others are linked all the same
        description=f"{counted(len(errors), 'image')}: {', '.join(words)}" if errors else "None.",
    )


@dg.multi_asset(
    name="image_link_transaction",
    description="Batches and images of the verified copies, in one transaction; orphaned batches get their patient.",
    specs=[
        dg.AssetSpec(
            "linked_image_batches",
            # The reimport relinks the batches of the same table to their patients, as the asset `image_batches`.
            deps=["patient_image_copies", "patients", "image_batches"],
            group_name=IMAGE_LINK,
            description="One batch a patient and exact date; rows of the table that `image_batches` relinks.",
            kinds={"postgres"},
            owners=OWNERS,
        ),
        dg.AssetSpec(
            "linked_images",
            deps=["patient_image_copies", "linked_image_batches", "patients"],
            group_name=IMAGE_LINK,
            description="Images of patients, each pointing at its verified copy.",
            kinds={"postgres"},
            owners=OWNERS,
        ),
    ],
    check_specs=[
        dg.AssetCheckSpec("counts_add_up", asset="linked_images", description="Every record has exactly one end."),
        dg.AssetCheckSpec(
            "objects_exist", asset="linked_images", description="Every linked image's copy is in a fresh listing."
        ),
    ],
    pool=POOL,
)
def image_link_transaction(
    context: dg.AssetExecutionContext, nexus: NexusTarget, s3: PatientFiles
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Write, then look."""
    from fm_pipeline.images.linking.report import read_report, read_source_counts  # noqa: PLC0415  # slow to import
    from fm_pipeline.images.linking.steps import missing_objects, write_rows  # noqa: PLC0415

    rows, reports = None, list["LinkReport"]()

    def store(cursor: Cursor, written: "RowsReport") -> None:
        reports.append(read_report(cursor, source, written))
        add_run_report(cursor, context.run.run_id, "image_link", asdict(reports[-1]))

    def cancelled() -> str:
        became = "is unchanged: no row was committed" if rows is None else "has the rows of the linked images"
        return f"The run was cancelled. Nexus {became}."

    with explained(cancelled):
        SYSTEM.refuse_wider_selection(context)
        settings: Settings = nexus.prepare().settings
        with nexus.connect() as connection, connection.cursor() as cursor:
            source = read_source_counts(cursor)
        with _audited(context, settings):
            rows = write_rows(settings, now=datetime.now(UTC), on_written=store)
        (report,) = reports
        with nexus.connect() as connection, connection.cursor() as cursor:
            context.log.info("\n".join(report.lines()))
            lists = _list_not_linked(context, settings, cursor)
            charts = image_charts(connection, settings.nexus_schema)
            tables = tables_of_assets(connection, settings.nexus_schema)
        missing = missing_objects(settings, s3.bucket())
    yield dg.MaterializeResult(
        asset_key="linked_image_batches",
        metadata=row_count(
            rows.batches_created,
            repaired=rows.repaired.repaired,
            without_patient=dg.MetadataValue.json(dict(rows.repaired.unresolved)),
            **tables["linked_image_batches"],
        ),
    )
    yield dg.MaterializeResult(
        asset_key="linked_images",
        metadata=row_count(len(rows.linked), **_metadata(report), lists=lists, **charts, **tables["linked_images"]),
    )
    yield dg.AssetCheckResult(
        asset_key="linked_images",
        check_name="counts_add_up",
        passed=report.adds_up,
        description=f"{counted(report.total, 'record')}: {report.linked:,} linked, {report.already:,} before,"
        f" {sum(report.skipped.values()):,} skipped, {counted(sum(report.errors.values()), 'error')},"
        f" {report.left:,} left.",
    )
    yield dg.AssetCheckResult(
        asset_key="linked_images",
        check_name="objects_exist",
        passed=not missing,
        description=f"{counted(len(missing), 'is missing', 'are missing')}: {', '.join(map(str, missing[:SHOWN]))}"
        if missing
        else "All do.",
    )


def _list_not_linked(
    context: dg.AssetExecutionContext, settings: Settings, cursor: Cursor
) -> dg.PathMetadataValue | dg.TextMetadataValue:
    """Write the list again, and return its folder, or why it could not be written: the images are linked either way."""
    folder = settings.state_dir / "images"
    try:
        write_not_linked(folder, cursor)
    except PipelineError as error:
        context.log.warning(str(error))
        return dg.MetadataValue.text(str(error))
    return dg.MetadataValue.path(str(folder))


def _metadata(report: "LinkReport") -> dict[str, dg.MetadataValue]:
    from fm_pipeline.images.linking.report import RULE  # noqa: PLC0415  # slow to import

    # As text that wraps: the UI cuts a block of code off at the edge of its column.
    summary = "  \n".join(line.strip() for line in report.lines() if line != RULE)
    return {
        "summary": dg.MetadataValue.md(summary),
        "linked": dg.MetadataValue.int(report.linked),
        "linked_before": dg.MetadataValue.int(report.already),
        "left_by_the_limit": dg.MetadataValue.int(report.left),
        "skipped": dg.MetadataValue.int(sum(report.skipped.values())),
        "skipped_by_reason": dg.MetadataValue.json(dict(report.skipped)),
        "errors": dg.MetadataValue.int(sum(report.errors.values())),
        "errors_by_reason": dg.MetadataValue.json(dict(report.errors)),
        "files_without_record": dg.MetadataValue.int(report.files_without_record),
    }
