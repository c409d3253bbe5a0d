"""A restore drill from beginning to end: the audit trail, the trial, and the email about its result."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from fm_pipeline.db.audit import audited
from fm_pipeline.errors import PipelineError, SettingsError
from fm_pipeline.nexus.backup.drill import DrillReport, drill
from fm_pipeline.nexus.backup.rows import OnProgress
from fm_pipeline.notifications.alerts import enqueue_alert
from fm_pipeline.notifications.run_email_text import safe_sentences
from fm_pipeline.notifications.send_run_emails import send_due_emails
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
        PipelineError: the drill failed; see `drill`. The email says the same.
    """
    database = settings.nexus_database_url.get_secret_value()
    try:
        with audited(database, actor=actor, action="verify", run_id=run_id, about=_ABOUT):
            report = drill(settings, url or _configured_url(settings), folder, on_progress=on_progress)
    except PipelineError as error:
        _send(settings, "Restore drill FAILED", safe_sentences(error), now, warn)
        raise
    _send(settings, "Restore drill succeeded", [report.sentence(), *report.notes], now, warn)
    return report


def _configured_url(settings: Settings) -> str:
    if settings.restore_drill_url is None:
        raise SettingsError(
            "RESTORE_DRILL_URL is not set, so there is no database for the drill.",
            meaning="Nothing was tried: nobody knows whether the newest backup can be restored elsewhere.",
            remedy="Set it to an empty Nexus database on another server, or stop the schedule weekly_restore_drill.",
        )
    return settings.restore_drill_url.get_secret_value()


def _send(
    settings: Settings, subject: str, sentences: Sequence[str], now: datetime, warn: Callable[[str], None]
) -> None:
    if not settings.smtp_host:
        return
    key = f"drill-{uuid.uuid4()}"
    enqueue_alert(settings, key, subject, sentences, now=now)
    try:
        send_due_emails(settings, warn=warn, run_id=key)
    except (OSError, sqlite3.Error) as fault:
        warn(f"The email of the drill could not be sent ({type(fault).__name__}).")
