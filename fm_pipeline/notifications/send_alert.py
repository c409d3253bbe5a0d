"""Send an alert at once, for a command or a run whose result it tells."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime

from fm_pipeline.notifications.alerts import enqueue_alert
from fm_pipeline.notifications.email_texts.email_text import EmailText
from fm_pipeline.notifications.send_run_emails import send_due_emails
from fm_pipeline.settings import Settings


def send_alert(
    settings: Settings,
    key: str,
    text: EmailText,
    *,
    now: datetime,
    warn: Callable[[str], None],
    page: str = "",
    link: str | None = None,
) -> None:
    """Send an alert, or leave it to the sensor if the mail server does not answer. Without SMTP_HOST do nothing.

    Args:
        key, text, page, link: as for `enqueue_alert`; what has the same key is sent once.
        warn: called if it could not be sent; the result of what it tells stays what it is.
    """
    if not settings.smtp_host:
        return
    enqueue_alert(settings, key, text, now=now, page=page, link=link)
    try:
        send_due_emails(settings, warn=warn, run_id=key)
    except (OSError, sqlite3.Error) as fault:
        warn(f"The email {text.subject!r} could not be sent ({type(fault).__name__}).")
