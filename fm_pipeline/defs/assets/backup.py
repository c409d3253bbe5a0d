"""Phase 0, the backup: all that the reimport may change, written, restored into copies of the tables, compared."""

import time
from datetime import UTC, datetime

import dagster as dg

from fm_pipeline.defs.assets.reimport import refuse_at_once
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import BACKUP, OWNERS, POOL, STAGED_ASSETS
from fm_pipeline.defs.requester import requester
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress


@dg.asset(
    group_name=BACKUP,
    # As late as possible: whatever a user saves after it makes it void.
    deps=STAGED_ASSETS,
    description="One snapshot of every table that a reimport can touch. It counts as a backup when it was read back"
    " from the disk, restored into copies of the tables, which have their constraints, and found equal, row by row.",
    kinds={"postgres", "file"},
    owners=OWNERS,
    pool=POOL,
)
def nexus_backup(context: dg.AssetExecutionContext, nexus: NexusTarget) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows only the bare class
    """Make a verified backup."""
    started = time.monotonic()
    with explained():
        settings = nexus.prepare().settings
    with explained(), run_progress(settings, context.run.run_id, log=context.log.info) as progress:
        refuse_at_once(context, settings, staged=True)
        backup = make_backup(
            settings,
            now=datetime.now(UTC),
            run_id=context.run.run_id,
            actor=requester(context, settings),
            on_progress=lambda step, done, total: progress.update(f"backup, {step}", done, total),
        )
    rows = {name: digest.rows for name, digest in backup.digests.items()}
    context.log.info(
        f"Backup {backup.id}: {counted(sum(rows.values()), 'row')}, {backup.bytes:,} bytes, restored and compared"
    )
    for sentence in backup.untested:
        context.log.warning(sentence)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(rows.values()),
            "backup_id": backup.id,
            "folder": dg.MetadataValue.path(str(backup.folder)),
            "bytes": backup.bytes,
            "encrypted": backup.encrypted,
            "seconds": round(time.monotonic() - started, 3),
            "not_tried": dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in backup.untested) or "nothing"),
            "rows": dg.MetadataValue.json(rows),
        }
    )
