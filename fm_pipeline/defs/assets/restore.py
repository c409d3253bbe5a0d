"""The job that brings a backup back. It is started by hand only, with the words that a dry run shows."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from fm_pipeline.db.audit import audited
from fm_pipeline.defs.dagster_internals import PARENT_RUN_ID_TAG
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import POOL
from fm_pipeline.defs.requester import REMARK, requester
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.nexus.backup.restore_state import NewerRowsPolicy
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.settings import Settings


class RestoreConfig(dg.Config):
    """Which backup, and who wants it."""

    folder: str = Field(description="Folder of the backup; nexus_backup and `fm-pipeline backup --list` show it.")
    confirm: str = Field(
        default="",
        description='"<database> <number of patients in the backup>". Without it the run does everything, shows what'
        " it would do and the words to type, and rolls it back.",
    )
    newer: NewerRowsPolicy = Field(
        default="stop",
        description="What happens to rows that were created since the backup and cannot stay: `stop` stops, `set-aside`"
        " moves them into the table fm_pipeline.set_aside_rows.",
    )
    requested_by: str = Field(default="", description=REMARK)


@dg.op(pool=POOL)
def restore_rows(context: dg.OpExecutionContext, config: RestoreConfig, nexus: NexusTarget) -> None:
    """Bring back every row of a backup in one transaction, or show what that would do."""
    report = None

    def cancelled() -> str:
        became = "is unchanged: the restore was not committed" if report is None else "has the rows of the backup"
        return f"The run was cancelled. Nexus {became}."

    with explained(cancelled):
        settings = nexus.prepare().settings
        actor = requester(context, settings, config.requested_by)
        if config.confirm and PARENT_RUN_ID_TAG in context.run.tags:
            _refuse_repetition(settings, actor, context.run.run_id)
        with run_progress(settings, context.run.run_id, log=context.log.info) as progress:
            report = restore(
                settings,
                Path(config.folder),
                confirm=config.confirm,
                dry_run=not config.confirm,
                newer=config.newer,
                actor=actor,
                run_id=context.run.run_id,
                on_progress=progress.update,
            )
    would = "" if report.committed else "would be "
    for table in report.tables:
        if table.changed or table.newer:
            context.log.info(
                f"{table.table}: {table.deleted:,} {would}deleted, {table.updated:,} {would}changed,"
                f" {table.inserted:,} {would}brought back, {table.newer:,} newer {would}kept,"
                f" {counted(table.emptied, 'reference')} {would}emptied"
            )
    for note in [rows.sentence() for rows in report.newer] + report.notes:
        context.log.warning(note)
    if report.committed:
        context.log.info(f"Restored: {report.changed_words()} changed in {report.seconds:.1f} seconds")
    else:
        context.log.info(f"Nexus is unchanged. To carry it out, launch it again with confirm={report.confirmation!r}")


def _refuse_repetition(settings: Settings, actor: str, run_id: str) -> None:
    """Words that somebody typed for one restore are not his consent to another, whatever was saved since."""
    with audited(settings.nexus_database_url.get_secret_value(), actor=actor, action="restore", run_id=run_id):
        raise BackupStop(
            "This run repeats an earlier restore, with the words that were typed for that one.",
            meaning="What was saved since would be lost. Nothing was changed.",
            remedy="Launch restore_backup from its launchpad: without confirm first, then with the words it shows.",
        )


@dg.job(
    executor_def=dg.in_process_executor,
    description="Brings back a backup. Launch it without `confirm` first: it shows what it would do, and the words.",
)
def restore_backup() -> None:
    """One op."""
    restore_rows()
