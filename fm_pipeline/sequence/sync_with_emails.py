"""A whole sync, as the command and the job run it: read and stage what changed, merge, and tell the people.

Undoing a sync is a change of Nexus too, so an email tells of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from fm_pipeline.db.connection import connect
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.errors import PipelineError
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.nexus.reimport.transaction import OnPhase
from fm_pipeline.nexus.sync.syncs import UndoneSync, last_committed, read_undone
from fm_pipeline.notifications.console_pages import SYNC_PAGE
from fm_pipeline.notifications.email_texts.email_text import EmailText
from fm_pipeline.notifications.email_texts.sync import sync_committed, sync_failed, sync_undone, sync_waiting
from fm_pipeline.notifications.send_alert import send_alert
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline.sequence.sync import SyncResult, sync_staged
from fm_pipeline.sequence.undo_sync import undo_sync
from fm_pipeline.settings import Settings
from fm_pipeline.staging.parallel import OnStep

# Syncs run every night, so an email about an undo comes late by a night. It still comes after a longer pause, and a new
# STATE_DIR, which does not know what was sent, tells of nothing older.
UNDO_IS_TOLD_FOR = timedelta(days=30)


def run_sync(
    settings: Settings,
    *,
    actor: str,
    run_id: str,
    permission: Permission | None = None,
    on_step: OnStep = lambda *_: None,
    phases: Callable[[], OnPhase] = lambda: lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
    in_dagster: bool = False,
) -> SyncResult:
    """Read FileMaker, stage, and sync; with a permission, carry out the sync that waits, without reading again.

    Args:
        phases: called when everything is staged; gives what is called after each phase.
        warn: called if the email could not be sent.
        in_dagster: the run has a page in Dagster's UI, to which the email links.

    Raises:
        PipelineError: as `read_changes_and_stage` and `sync_staged`. An email says it too, and of an unforeseen error
            its class.
    """
    link = f"runs/{run_id}" if in_dagster else None

    def send(key: str, text: EmailText) -> None:
        send_alert(settings, key, text, now=datetime.now(UTC), page=SYNC_PAGE, link=link, warn=warn)

    try:
        _tell_of_last(settings, datetime.now(UTC), warn)
        staged = True
        policies = load_profile(settings.filemaker_profile).sync_policies
        if permission is None:
            staged = read_changes_and_stage(settings, run_id=run_id, on_step=on_step)
        result = sync_staged(
            settings,
            now=datetime.now(UTC),  # not of before FileMaker was read: a plan made meanwhile is older than the sync
            actor=actor,
            run_id=run_id,
            permission=permission,
            policies=policies,
            staged_again=staged,
            on_phase=phases(),
        )
    except Exception as error:
        # The connection may have been lost at COMMIT: the email of the next sync, that Nexus was changed, is another.
        send(f"sync-{run_id}-failed", sync_failed(error))
        raise
    # If the process is killed here, the next sync sends the email.
    if text := _text_of(result):
        send(f"sync-{run_id}", text)
    return result


def run_undo(
    settings: Settings,
    sync_id: str,
    *,
    actor: str,
    run_id: str,
    confirm: str | None = None,
    warn: Callable[[str], None] = lambda _: None,
    in_dagster: bool = False,
) -> Mapping[str, int]:
    """Undo a committed sync and send the email; return the number of rows that were written back, by table.

    Args, Raises: as `undo_sync` and `run_sync`. What is refused sends no email.
    """
    url, now = settings.nexus_database_url.get_secret_value(), datetime.now(UTC)
    rows = undo_sync(settings, sync_id, actor=actor, run_id=run_id, confirm=confirm)
    if not settings.smtp_host:
        return rows
    # If the process is killed here, the next sync sends the email.
    try:
        with connect(url) as connection, connection.cursor() as cursor:
            undone = read_undone(cursor, now - UNDO_IS_TOLD_FOR)
    except PipelineError as error:  # it is undone all the same
        warn(f"The sync was undone. The next sync sends the email about it: {error}")
        return rows
    for each in undone:
        is_this = each.id == sync_id.strip().lower()
        _tell_of_undone(settings, each, now, warn, f"runs/{run_id}" if in_dagster and is_this else None)
    return rows


def _tell_of_undone(
    settings: Settings, undone: UndoneSync, now: datetime, warn: Callable[[str], None], link: str | None = None
) -> None:
    text = sync_undone(undone.rows, made_at=undone.made_at, at=undone.at)
    key = f"sync-undo-{undone.id}-{undone.at:%Y%m%dT%H%M%S}"  # after a restore it may be undone again
    send_alert(settings, key, text, now=now, page=SYNC_PAGE, link=link, warn=warn)


def _tell_of_last(settings: Settings, now: datetime, warn: Callable[[str], None]) -> None:
    """Send the emails of the last sync and of undos, if their processes were killed first; never twice."""
    if not settings.smtp_host:
        return
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        last, undone = last_committed(cursor), read_undone(cursor, now - UNDO_IS_TOLD_FOR)
    for each in undone:
        _tell_of_undone(settings, each, now, warn)
    if last and last.run_id:
        text = sync_committed(last.changed_rows, last.kept, last.conflicts, at=last.at)
        send_alert(settings, f"sync-{last.run_id}", text, now=now, page=SYNC_PAGE, warn=warn)


def _text_of(result: SyncResult) -> EmailText | None:
    """Return what the email says; None if nothing is new."""
    if result.status == "waits":
        return sync_waiting(result.id, result.confirmation, result.why)
    if result.status == "committed":
        conflicts = sum(each.is_conflict for each in result.decisions)
        kept = sum(each.kept and not each.is_conflict for each in result.decisions)
        return sync_committed(result.report.changed_rows, kept, conflicts)
    return None
