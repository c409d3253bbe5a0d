"""The nightly sync as a job: it commits what the settings allow without a person, or stops after its plan."""

import dagster as dg
from pydantic import Field

from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import MAX_RUNTIME_TAG, POOL
from fm_pipeline.defs.requester import REMARK, requester
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.pluralize import counted, rows_changed
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.sequence.sync_with_emails import run_sync, run_undo


class SyncConfig(dg.Config):
    """Nothing for a new sync; the permission for one that waits; or the sync that is to be undone."""

    plan_id: str = Field(default="", description="Id of the sync that waits and that you have read.")
    undo_id: str = Field(default="", description="In place of plan_id: id of a committed sync that is to be undone.")
    confirm: str = Field(
        default="", description="The database's name and its number of patients, as the sync shows: 'nexus 2842'."
    )
    requested_by: str = Field(default="", description=REMARK)


@dg.op(pool=POOL)
def sync_nexus(context: dg.OpExecutionContext, config: SyncConfig, nexus: NexusTarget) -> None:
    """Read FileMaker, stage, merge; commit, or show what waits. With `undo_id` write rows back instead."""
    with explained():
        settings = nexus.prepare().settings
        actor = requester(context, settings, config.requested_by)
        if config.undo_id:
            rows = run_undo(
                settings,
                config.undo_id,
                actor=actor,
                run_id=context.run.run_id,
                confirm=config.confirm,
                warn=context.log.warning,
                in_dagster=True,
            )
            context.log.info(f"✅ Sync undone. {counted(sum(rows.values()), 'row')} of Nexus written back")
            return
        with run_progress(settings, context.run.run_id, log=context.log.info) as progress:
            result = run_sync(
                settings,
                actor=actor,
                run_id=context.run.run_id,
                permission=Permission(config.plan_id, config.confirm, actor) if config.plan_id else None,
                on_step=progress.update,
                phases=lambda: progress.phases(prefix="sync, "),
                warn=context.log.warning,
                in_dagster=True,
            )
    for sentence in result.why:
        context.log.info(sentence)
    if result.status == "waits":
        would_change = counted(result.report.changed_rows, "row")
        context.log.info(f"The sync waits; {would_change} of Nexus would change. Nexus is unchanged")
        context.log.info(
            f"To carry it out: filemaker_sync with plan_id={result.id} and confirm={result.confirmation!r}"
        )
    elif result.status == "committed":
        context.log.info(f"✅ Sync complete: {rows_changed(result.report.changed_rows)}")
    else:
        context.log.info("Nothing new. Nexus is unchanged")


@dg.job(
    executor_def=dg.in_process_executor,
    description="Merges what changed in FileMaker into Nexus and keeps what users edited. Stops after its plan unless"
    " FILEMAKER_SYNC_CHANGES allows it; deletions and conflicts always wait for a confirmation.",
    tags={MAX_RUNTIME_TAG: str(4 * 3600)},  # as a reimport's
)
def filemaker_sync() -> None:
    """One op."""
    sync_nexus()
