"""A restore drill from beginning to end: the audit trail, the trial, and the email about its result."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from fm_pipeline.db.audit import audited
from fm_pipeline.errors import SettingsError
from fm_pipeline.nexus.backup.drill import DrillReport, drill
from fm_pipeline.nexus.backup.rows import OnProgress
from fm_pipeline.notifications.email_texts.restore_drill import drill_failed, drill_succeeded
from fm_pipeline.notifications.send_alert import send_alert
from fm_pipeline.settings import Settings

_ABOUT = "A restore drill in another database."


def run_restore_drill(
    settings: Settings,
    url: str | None = None,
    folder: Path | None = None,
    *,
    actor: str,
    run_id: str | None = None,
    now: datetime,
    warn: Callable[[str], None],
    on_progress: OnProgress,
) -> DrillReport:
    """Try a restore on another server, and email the result to SMTP_TO. Nothing of it stays there.

    Args:
        url: of the empty database; None: RESTORE_DRILL_URL.
        folder: see `drill`.
        warn: called if the email could not be sent; the result of the drill stays what it is.

    Raises:
        PipelineError: the drill failed; see `drill`. The email says the same, and of an unforeseen error its class.
    """
    database, key = settings.nexus_database_url.get_secret_value(), f"drill-{uuid.uuid4()}"
    try:
        with audited(database, actor=actor, action="verify", run_id=run_id, about=_ABOUT):
            report = drill(settings, url or _configured_url(settings), folder, on_progress=on_progress)
    except Exception as error:
        send_alert(settings, key, drill_failed(error), now=now, warn=warn)
        raise
    send_alert(settings, key, drill_succeeded(report.sentence(), report.notes), now=now, warn=warn)
    return report


def _configured_url(settings: Settings) -> str:
    if settings.restore_drill_url is None:
        raise SettingsError(
            "RESTORE_DRILL_URL is not set, so there is no database for the drill.",
            meaning="Nothing was tried: nobody knows whether the newest backup can be restored elsewhere.",
            remedy="Set it to an empty Nexus database on another server, or stop the schedule weekly_restore_drill.",
        )
    return settings.restore_drill_url.get_secret_value()
