"""Emails to the users of Nexus (CONSOLE_MAINTENANCE_MAILS): before and after a reimport, and when it is announced.

Plain words about what they can do meanwhile; no counts, no ids but the run's in the Message-ID, no patient data.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from fm_pipeline.errors import RequestError
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.notifications.reimport_email_text import EventType, RunEvent
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

BEGIN, END, ANNOUNCED = "users begin", "users end", "users"
MEANWHILE = "Until it has ended, Nexus can be read, and saving a patient waits."
UNDONE = "Nexus has the data of before again. Reload the pages that you have open."
_ENDS = {
    True: "Nexus has the new data. Reload the pages that you have open.",
    False: "The data was not imported: Nexus is as it was before.",
    None: "Whether Nexus has the new data is being looked into. Please wait for the next email before you go on.",
}


def enqueue_maintenance_mail(settings: Settings, run_event: RunEvent) -> None:
    """Store the users' email about a reimport. Of its end only those hear who were told of its beginning.

    Raises:
        OSError, sqlite3.Error: STATE_DIR cannot be written.
    """
    if not settings.console_maintenance_mails or not settings.smtp_host:
        return
    time = f"Time: {run_event.at:%Y-%m-%d %H:%M %Z}"
    begins = run_event.event is EventType.STARTED
    if begins:
        sentences = ["Data is being imported from FileMaker into Nexus.", MEANWHILE, "An email follows then."]
    else:
        outcome = run_event.outcome
        sentences = ["The maintenance of Nexus has ended.", UNDONE if outcome.undone else _ENDS[outcome.committed]]
    Outbox(settings.state_dir).enqueue(
        run_event.run_id,
        BEGIN if begins else END,
        f"Nexus: maintenance has {'begun' if begins else 'ended'}",
        _body(settings, [*sentences, "", time]),
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
    sentences = [
        f"On {at:%Y-%m-%d at %H:%M %Z} data will be imported from FileMaker into Nexus. This takes about"
        f" {counted(minutes, 'minute')}.",
        MEANWHILE,
        "Please save your work before then.",
    ]
    _announce(settings, now, f"Nexus: maintenance on {at:%Y-%m-%d at %H:%M}", sentences)


def announce_end(settings: Settings, *, now: datetime) -> None:
    """Store an email that tells the users that a maintenance is over.

    Raises:
        RequestError: no email can be sent.
        OSError, sqlite3.Error: STATE_DIR cannot be written.
    """
    _require_receivers(settings)
    sentences = ["The maintenance of Nexus is over.", "Reload the pages that you have open."]
    _announce(settings, now, "Nexus: maintenance is over", sentences)


def _announce(settings: Settings, now: datetime, subject: str, sentences: Sequence[str]) -> None:
    Outbox(settings.state_dir).enqueue(
        f"maintenance-{now:%Y%m%dT%H%M%S.%f}",
        ANNOUNCED,
        subject,
        _body(settings, sentences),
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


def _body(settings: Settings, sentences: Sequence[str]) -> str:
    contact = ["", f"Help: {settings.support_contact}"] if settings.support_contact else []
    return "\n".join([*sentences, *contact]) + "\n"
