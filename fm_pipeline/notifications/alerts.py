"""Alerts: one email when an alert begins, none at the following ticks.

They are about a watched hospital directory, or about what did not come in time.

This module only fills the outbox; the sensor `fm_pipeline.defs.sensors.mail` sends and retries.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.settings import Settings

KIND = "alarm"

_log = logging.getLogger(__name__)


def enqueue_alert(
    settings: Settings, key: str, subject: str, sentences: Sequence[str], *, now: datetime, link: str | None = None
) -> None:
    """Put an alert into the outbox, unless it is there already. Without SMTP_HOST do nothing.

    Args:
        key: identifies the alert from its beginning to its end; part of the Message-ID.
        subject, sentences: counts and ids only; no patient data and no path.
        now: with a zone.
        link: a path in Dagster's UI.
    """
    if not settings.smtp_host:
        return
    ui = settings.dagster_ui_url
    lines = [*sentences, "", f"Time: {now.astimezone(ZoneInfo(settings.clinic_time_zone)):%Y-%m-%d %H:%M:%S %Z}"]
    if ui and link:
        lines.append(f"Page: {ui.rstrip('/')}/{link}")
    if settings.support_contact:
        lines.append(f"Help: {settings.support_contact}")
    try:
        Outbox(settings.state_dir).enqueue(key, KIND, subject, "\n".join(lines) + "\n")
    except (OSError, sqlite3.Error) as error:  # the alert is in the log and in the audit trail as well
        _log.warning("The mail of an alarm could not be written (%s).", type(error).__name__)
