"""A whole sync, as the command and the job run it: read and stage what changed, merge, and tell the people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from fm_pipeline.db.connection import connect
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.errors import PipelineError
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.nexus.reimport.transaction import OnPhase
from fm_pipeline.nexus.sync.syncs import last_committed
from fm_pipeline.notifications.sync_emails import send_sync_email
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline.sequence.sync import SyncResult, sync_staged
from fm_pipeline.settings import Settings
from fm_pipeline.staging.parallel import OnStep

CHANGED = "The sync has changed Nexus"


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
        PipelineError: as `read_changes_and_stage` and `sync_staged`; an email says it too.
    """
    now = datetime.now(UTC)
    link = f"runs/{run_id}" if in_dagster else None
    try:
        _tell_of_last(settings, now, warn)
        staged = True
        policies = load_profile(settings.filemaker_profile).sync_policies
        if permission is None:
            staged = read_changes_and_stage(settings, run_id=run_id, on_step=on_step)
        result = sync_staged(
            settings,
            now=now,
            actor=actor,
            run_id=run_id,
            permission=permission,
            policies=policies,
            staged_again=staged,
            on_phase=phases(),
        )
    except PipelineError as error:
        said = [error.what, error.meaning, error.remedy]
        send_sync_email(settings, run_id, "The sync has failed", said, now=now, link=link, warn=warn)
        raise
    # If the process is killed here, the next sync sends the email.
    subject, sentences = _told(result)
    if subject:
        send_sync_email(settings, run_id, subject, sentences, now=now, link=link, warn=warn)
    return result


def _tell_of_last(settings: Settings, now: datetime, warn: Callable[[str], None]) -> None:
    """Send the email of the last sync that changed Nexus, if its process was killed before it could; never twice."""
    if not settings.smtp_host:
        return
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        last = last_committed(cursor)
    if last and last.run_id:
        said = [*_counts(last.changed_rows, last.kept), f"It was committed at {last.at:%Y-%m-%d %H:%M} UTC."]
        send_sync_email(settings, last.run_id, CHANGED, said, now=now, link=None, warn=warn)


def _told(result: SyncResult) -> tuple[str, list[str]]:
    """Return subject and sentences of the email; no subject if nothing is new."""
    if result.status == "waits":
        how = (
            f"Nexus is unchanged. Read what waits in the console or with fm-pipeline sync --show {result.id}. To carry"
            f' it out: fm-pipeline sync --plan {result.id} --confirm "{result.confirmation}"'
        )
        return "The sync is waiting", [*result.why, how]
    if result.status == "committed":
        kept = sum(each.kept and not each.is_conflict for each in result.decisions)
        return CHANGED, _counts(result.report.changed_rows, kept)
    return "", []


def _counts(changed: int, kept: int) -> list[str]:
    return [f"{changed:,} row(s) of Nexus.", f"{kept:,} value(s) and row(s) of Nexus stay."]
