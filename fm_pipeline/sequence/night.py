"""A whole sync, as the command and the job run it: read and stage what changed, merge, and tell the people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from fm_pipeline.entities.profile import load_profile
from fm_pipeline.errors import PipelineError
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.nexus.reimport.transaction import OnPhase
from fm_pipeline.notifications.sync_emails import send_sync_email
from fm_pipeline.sequence.read_and_stage import read_changes_and_stage
from fm_pipeline.sequence.sync import SyncResult, sync_staged
from fm_pipeline.settings import Settings
from fm_pipeline.staging.parallel import OnStep


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
        warn: called if the mail could not be sent.
        in_dagster: the run has a page in Dagster's UI, to which the mail links.

    Raises:
        PipelineError: as `read_changes_and_stage` and `sync_staged`; a mail says it too.
    """
    now = datetime.now(UTC)
    link = f"runs/{run_id}" if in_dagster else None
    try:
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
    subject, sentences = _told(result)
    if subject:
        send_sync_email(settings, run_id, subject, sentences, now=now, link=link, warn=warn)
    return result


def _told(result: SyncResult) -> tuple[str, list[str]]:
    """Return subject and sentences of the mail; no subject if nothing is new."""
    kept = sum(each.kept and not each.is_conflict for each in result.decisions)
    counts = [f"{result.report.changed_rows:,} row(s) of Nexus.", f"{kept:,} value(s) and row(s) of Nexus stay."]
    if result.status == "waits":
        how = (
            f"Nexus is unchanged. Read what waits in the console or with fm-pipeline sync --show {result.id}. To carry"
            f' it out: fm-pipeline sync --plan {result.id} --confirm "{result.confirmation}"'
        )
        return "The sync is waiting", [*result.why, how]
    if result.status == "committed":
        return "The sync has changed Nexus", counts
    return "", []
