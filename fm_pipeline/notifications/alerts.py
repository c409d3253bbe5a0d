"""Alerts: one email when an alert begins, none at the following ticks.

They are about everything but the run of a reimport: a plan, a sync, a restore drill, what did not come in time, and the
imports of DICOM files. What they say is in `email_texts/`.

This module only fills the outbox; the sensor `fm_pipeline.defs.sensors.mail` sends and retries.
"""

from __future__ import annotations

import logging
import sqlite3
from datetime import datetime
from zoneinfo import ZoneInfo

from fm_pipeline.notifications.console_pages import console_address
from fm_pipeline.notifications.email_texts.email_text import EmailText, alert_body
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.settings import Settings

KIND = "alarm"

_log = logging.getLogger(__name__)


def enqueue_alert(
    settings: Settings, key: str, text: EmailText, *, now: datetime, page: str = "", link: str | None = None
) -> None:
    """Put an alert into the outbox, unless it is there already. Without SMTP_HOST do nothing.

    Args:
        key: identifies the alert from its beginning to its end; part of the Message-ID.
        text: from a function of `email_texts/`; no patient data and no path.
        now: with a zone.
        page: of the console, for the email's link.
        link: a path in Dagster's UI, for the email of a pipeline without a console.
    """
    if not settings.smtp_host:
        return
    ui = settings.dagster_ui_url
    address = (page and console_address(settings, page)) or (ui and link and f"{ui.rstrip('/')}/{link}")
    at = now.astimezone(ZoneInfo(settings.clinic_time_zone))
    body = alert_body(text.sentences, at=at, page=address or None, contact=settings.support_contact)
    try:
        Outbox(settings.state_dir).enqueue(key, KIND, text.subject, body)
    except (OSError, sqlite3.Error) as error:  # the alert is in the log and in the audit trail as well
        _log.warning("The email of an alarm could not be written (%s).", type(error).__name__)
