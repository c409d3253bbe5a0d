"""Emails to the users of Nexus (CONSOLE_MAINTENANCE_MAILS): before and after a reimport, and when it is announced.

This module only fills the outbox; what they say is in `email_texts/maintenance.py`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from fm_pipeline.errors import RequestError
from fm_pipeline.notifications.email_texts.email_text import EmailText
from fm_pipeline.notifications.email_texts.maintenance import (
    body_for_users,
    maintenance_announced,
    maintenance_begun,
    maintenance_ended,
    maintenance_over,
)
from fm_pipeline.notifications.email_texts.reimport import EventType, RunEvent
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.settings import Settings

BEGIN, END, ANNOUNCED = "users begin", "users end", "users"


def enqueue_maintenance_mail(settings: Settings, run_event: RunEvent) -> None:
    """Store the users' email about a reimport. Of its end only those hear who were told of its beginning.

    Raises:
        OSError, sqlite3.Error: STATE_DIR cannot be written.
    """
    if not settings.console_maintenance_mails or not settings.smtp_host:
        return
    begins = run_event.event is EventType.STARTED
    text = maintenance_begun(run_event.at) if begins else maintenance_ended(run_event.at, run_event.outcome)
    Outbox(settings.state_dir).enqueue(
        run_event.run_id,
        BEGIN if begins else END,
        text.subject,
        body_for_users(text, settings.support_contact),
        receivers=settings.console_maintenance_mails,
        only_after=None if begins else BEGIN,
    )


def announce_maintenance(settings: Settings, begins: datetime, minutes: int, *, now: datetime) -> None:
    """Store an email that tells the users when a maintenance will begin.

    Args:
        begins, now: with a zone.
        minutes: how long it is expected to take.

    Raises:
        RequestError: no email can be sent, or the time has passed.
        OSError, sqlite3.Error: STATE_DIR cannot be written.
    """
    _require_receivers(settings)
    if begins < now - timedelta(minutes=1):
        raise RequestError("This time has passed.", meaning="No email was sent.", remedy="Choose a later time.")
    at = begins.astimezone(ZoneInfo(settings.clinic_time_zone))
    _announce(settings, now, maintenance_announced(at, minutes))


def announce_end(settings: Settings, *, now: datetime) -> None:
    """Store an email that tells the users that a maintenance is over.

    Raises:
        RequestError: no email can be sent.
        OSError, sqlite3.Error: STATE_DIR cannot be written.
    """
    _require_receivers(settings)
    _announce(settings, now, maintenance_over())


def _announce(settings: Settings, now: datetime, text: EmailText) -> None:
    Outbox(settings.state_dir).enqueue(
        f"maintenance-{now:%Y%m%dT%H%M%S.%f}",
        ANNOUNCED,
        text.subject,
        body_for_users(text, settings.support_contact),
        receivers=settings.console_maintenance_mails,
    )


def _require_receivers(settings: Settings) -> None:
    missing = [
        name
        for name, value in (
            ("SMTP_HOST", settings.smtp_host),
            ("CONSOLE_MAINTENANCE_MAILS", settings.console_maintenance_mails),
        )
        if not value
    ]
    if missing:
        raise RequestError(
            f"No email can be sent: {' and '.join(missing)} not set.",
            code=409,
            meaning="Nobody was told.",
            remedy="Set it in .env and start the console again.",
        )
