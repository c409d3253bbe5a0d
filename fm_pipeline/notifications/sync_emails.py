"""The email of a sync: it waits, has changed Nexus, has failed or was undone. A sync with nothing new sends none."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime

from fm_pipeline.notifications.alerts import enqueue_alert
from fm_pipeline.notifications.console_pages import SYNC_PAGE
from fm_pipeline.notifications.send_run_emails import send_due_emails
from fm_pipeline.settings import Settings


def send_sync_email(
    settings: Settings,
    run_id: str,
    subject: str,
    sentences: Sequence[str],
    *,
    now: datetime,
    link: str | None,
    warn: Callable[[str], None],
) -> None:
    """Send the email of a run, or leave it to the sensor if the mail server does not answer.

    Args:
        run_id: identifies the email, which is sent once.
        sentences: counts and ids only; no patient data.
        link: a path in Dagster's UI, for a pipeline without a console.
        warn: called if it could not be sent; the result of the sync stays what it is.
    """
    if not settings.smtp_host:
        return
    said = [each for each in sentences if each]
    enqueue_alert(settings, f"sync-{run_id}", subject, said, now=now, page=SYNC_PAGE, link=link)
    try:
        send_due_emails(settings, warn=warn, run_id=f"sync-{run_id}")
    except (OSError, sqlite3.Error) as fault:
        warn(f"The email of the sync could not be sent ({type(fault).__name__}).")
