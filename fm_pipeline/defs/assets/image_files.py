"""Phase 7, for images that are still in FileMaker: their files out of the containers, with their rows and marks."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import dagster as dg
from pydantic import Field

from fm_pipeline.db.audit import audited
from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline.defs.assets.metadata import row_count
from fm_pipeline.defs.assets.own_run import System
from fm_pipeline.defs.assets.plots import bar_chart, containers_used
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import IMAGE_FILES, OWNERS, POOL
from fm_pipeline.defs.requester import requester
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.images.containers.choices import BATCH_SIZE
from fm_pipeline.images.containers.report import OUTCOME_KINDS, ImportReport
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.settings import Settings

SYSTEM = System(
    "The import of image files",
    job="import_image_files",
    group=IMAGE_FILES,
    assets=frozenset({dg.AssetKey("filemaker_image_files")}),
)


class ImageFilesConfig(dg.Config):
    """How much of it in this run."""

    limit: int | None = Field(default=None, ge=1, description="Records that have their turn; none: all that are left.")
    daily: bool = Field(default=False, description="Take FILEMAKER_IMAGES_A_DAY records, as the schedule does.")
    batch_size: int = Field(default=BATCH_SIZE, ge=1, le=500, description="Images between two pauses for FileMaker.")
    dry_run: bool = Field(default=False, description="Look and decide; download, write and mark nothing.")


CANCELLED = (
    "The run was cancelled. The images that it had imported before stay in Nexus; the next run goes on after them."
)


@dg.asset(
    group_name=IMAGE_FILES,
    deps=["image_batches", "patients"],
    description="Pictures of FileMaker's image records whose mark is empty: each from its best container into S3, its"
    " row into Nexus, and only then the mark. One download at a time; goes on where an earlier run stopped.",
    kinds={"filemaker", "s3", "postgres"},
    owners=OWNERS,
    pool=POOL,
)
def filemaker_image_files(
    context: dg.AssetExecutionContext, config: ImageFilesConfig, nexus: NexusTarget
) -> dg.MaterializeResult[None]:
    from fm_pipeline.images.containers.import_images import Callbacks, import_images  # noqa: PLC0415  # slow to import

    with explained(lambda: CANCELLED):
        SYSTEM.refuse_wider_selection(context)
        settings = nexus.prepare().settings
        with nullcontext() if config.dry_run else _audited(context, settings):
            with run_progress(settings, context.run.run_id, log=context.log.info) as progress:
                callbacks = Callbacks(
                    progress=lambda done, total: progress.update("import images", done, total),
                    on_message=context.log.warning,
                )
                report = import_images(
                    settings,
                    limit=settings.filemaker_images_a_day if config.daily else config.limit,
                    batch_size=config.batch_size,
                    dry_run=config.dry_run,
                    run_id=context.run.run_id,
                    callbacks=callbacks,
                )
                progress.end(_sentence(report))
            store_run_report(
                settings.nexus_database_url.get_secret_value(),
                context.run.run_id,
                "image_import",
                report.as_dict(),
                dry_run=config.dry_run,
            )
            if report.stopped:  # what it did before is of use all the same
                context.log_event(dg.AssetObservation(context.asset_key, metadata=_metadata(report)))
                raise report.stopped
    return dg.MaterializeResult(metadata=_metadata(report))


def _audited(context: dg.AssetExecutionContext, settings: Settings) -> AbstractContextManager[None]:
    url, actor = settings.nexus_database_url.get_secret_value(), requester(context, settings)
    return audited(url, actor=actor, action="image_import", run_id=context.run.run_id)


def _sentence(report: ImportReport) -> str:
    """For the log."""
    ends = ", ".join(f"{report.count(kind):,} {kind.replace('_', ' ')}" for kind in OUTCOME_KINDS if report.count(kind))
    return f"{ends or 'none had its turn'}; {report.left:,} left"


def _metadata(report: ImportReport) -> dict[str, Any]:
    containers = {name: images for name, images, _ in report.by_container()}
    all_runs = {name: images for name, images, _ in report.by_container_in_all_runs()}
    reasons = [*report.reasons("skipped").items(), *report.reasons("failed").items()]
    not_taken = bar_chart(("not imported because of", "images"), reasons, "{:,.0f}".format)
    earlier = (
        {"containers_in_all_runs": dg.MetadataValue.md(containers_used(all_runs))} if all_runs != containers else {}
    )
    return row_count(
        report.count("imported"),
        listed=report.listed,
        only_marked=report.count("already_linked"),
        record_in_use=report.count("in_use"),
        skipped=report.count("skipped"),
        failed=report.count("failed"),
        left=report.left,
        dry_run=report.dry_run,
        containers=dg.MetadataValue.md(containers_used(containers) or "None was imported in this run."),
        **earlier,
        not_imported=dg.MetadataValue.md(not_taken or "Every record that had its turn is imported."),
        passed_over=dg.MetadataValue.json(report.passed_over()),
        not_on_the_layout=", ".join(report.missing) or "none",
    )
