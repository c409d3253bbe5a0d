"""Jobs with backups that are no part of a reimport: make one, verify one again, try one elsewhere, export as CSV."""

import json
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from fm_pipeline.db.audit import audited
from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import MAX_RUNTIME_TAG, POOL
from fm_pipeline.defs.requester import requester
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.backup.backup import Backup, find_backup
from fm_pipeline.nexus.backup.backup import make_backup as make
from fm_pipeline.nexus.backup.export_csv import export_csv
from fm_pipeline.nexus.backup.files import read_key
from fm_pipeline.nexus.backup.verify import verify_backup as verify
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.sequence.restore_drill import run_restore_drill
from fm_pipeline.settings import Settings


class VerifyConfig(dg.Config):
    """Which backup."""

    backup_id: str = Field(description="Its id; `fm-pipeline status` and the console show it.")


@dg.op(pool=POOL)
def back_up(context: dg.OpExecutionContext, nexus: NexusTarget) -> None:
    """Make a verified backup."""
    with explained():
        settings = nexus.prepare().settings
        with run_progress(settings, context.run.run_id, log=context.log.info) as progress:
            backup = make(
                settings,
                now=datetime.now(UTC),
                run_id=context.run.run_id,
                actor=requester(context, settings),
                on_progress=lambda step, done, total: progress.update(f"backup, {step}", done, total),
            )
    rows = sum(digest.rows for digest in backup.digests.values())
    context.log.info(f"Backup {backup.id}: {counted(rows, 'row')}, {backup.bytes:,} bytes, restored and compared")


@dg.op(pool=POOL)
def verify_rows(context: dg.OpExecutionContext, config: VerifyConfig, nexus: NexusTarget) -> None:
    """Check every file of a backup, restore it into copies of the tables, and roll back."""
    with explained():
        settings = nexus.prepare().settings
        url, run_id = settings.nexus_database_url.get_secret_value(), context.run.run_id
        with (
            audited(url, actor=requester(context, settings), action="verify", run_id=run_id),
            run_progress(settings, run_id, log=context.log.info) as progress,
        ):
            backup = _find(settings, config.backup_id)
            verified = verify(
                settings,
                backup.folder,
                read_key(settings),
                lambda step, done, total: progress.update(f"backup, {step}", done, total),
            )
        rows = sum(digest.rows for digest in backup.digests.values())
        report = {"rows": rows, "untested": list(verified.untested)}
        store_run_report(url, run_id, "verify", report, subject=backup.id)
    context.log.info(f"Backup {backup.id}: {counted(rows, 'row')} restored into copies, and rolled back")


@dg.op(pool=POOL)
def restore_elsewhere(context: dg.OpExecutionContext, nexus: NexusTarget) -> None:
    """Restore the newest backup into the database of RESTORE_DRILL_URL, compare, roll back, and email the result."""
    with explained():
        settings = nexus.prepare().settings
        with run_progress(settings, context.run.run_id, log=context.log.info) as progress:
            report = run_restore_drill(
                settings,
                actor=requester(context, settings),
                run_id=context.run.run_id,
                now=datetime.now(UTC),
                warn=context.log.warning,
                on_progress=progress.update,
            )
    for sentence in (report.sentence(), *report.notes):
        context.log.info(sentence)


@dg.op(pool=POOL)
def export_rows(context: dg.OpExecutionContext, nexus: NexusTarget) -> None:
    """Write the tables that a reimport replaces as CSV."""
    with explained():
        settings = nexus.prepare().settings
        folder, rows = export_csv(
            settings, now=datetime.now(UTC), actor=requester(context, settings), run_id=context.run.run_id
        )
        report = {"name": folder.name, "rows": rows, "encrypted": settings.backup_key is not None}
        store_run_report(settings.nexus_database_url.get_secret_value(), context.run.run_id, "export", report)
    context.log.info(f"Export {folder.name}: {json.dumps(rows)}")


@dg.job(
    executor_def=dg.in_process_executor,
    description="Writes a backup of all that a reimport can change, restores it into copies and compares them.",
)
def make_backup() -> None:
    """One op."""
    back_up()


@dg.job(
    executor_def=dg.in_process_executor,
    description="Checks a backup again: its files, and its restore into copies of the tables. Changes nothing.",
)
def verify_backup() -> None:
    """One op."""
    verify_rows()


@dg.job(
    executor_def=dg.in_process_executor,
    description="Restores the newest backup into the empty database of RESTORE_DRILL_URL, compares every row, rolls it"
    " back, and emails the result. Nexus is unchanged.",
    tags={MAX_RUNTIME_TAG: str(4 * 3600)},  # as a reimport's
)
def restore_drill() -> None:
    """One op."""
    restore_elsewhere()


@dg.job(
    executor_def=dg.in_process_executor,
    description="Writes patients, appointments, notes, messages, letters and reminders of Nexus as CSV files.",
)
def export_nexus_csv() -> None:
    """One op."""
    export_rows()


def _find(settings: Settings, backup_id: str) -> Backup:
    if found := find_backup(settings, backup_id):
        return found
    raise RequestError(
        "This database has no backup of this id.", code=404, remedy="fm-pipeline backup --list shows the backups."
    )
