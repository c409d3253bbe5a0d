"""Emails to the users of Nexus (CONSOLE_MAINTENANCE_MAILS): before and after a reimport, and when it is announced.

Plain words about what they can do meanwhile; no counts, no ids, no patient data.
"""

from __future__ import annotations

from datetime import datetime

from fm_pipeline.notifications.email_texts.email_text import EmailText
from fm_pipeline.notifications.email_texts.reimport import CommitStatus
from fm_pipeline.pluralize import counted

_MEANWHILE = "Until it has ended, Nexus can be read, and saving a patient waits."
_SAME = "No row of Nexus had to be changed."
_UNDONE = "Nexus has the data of before again. Reload the pages that you have open."
_ENDS = {
    True: "Nexus has the new data. Reload the pages that you have open.",
    False: "The data was not imported: Nexus is as it was before.",
    None: "Whether Nexus has the new data is being looked into. Please wait for the next email before you go on.",
}


def maintenance_begun(at: datetime) -> EmailText:
    """Say that a reimport has begun.

    Args:
        at: in the time zone of the readers.
    """
    sentences = ["Data is being imported from FileMaker into Nexus.", _MEANWHILE, "An email follows then."]
    return EmailText("Nexus: maintenance has begun", [*sentences, *_time(at)])


def maintenance_ended(at: datetime, outcome: CommitStatus) -> EmailText:
    """Say that a reimport has ended, and which data Nexus has.

    Args:
        at: in the time zone of the readers.
    """
    said = _UNDONE if outcome.undone else _SAME if outcome.changed_nothing else _ENDS[outcome.committed]
    sentences = ["The maintenance of Nexus has ended.", said]
    return EmailText("Nexus: maintenance has ended", [*sentences, *_time(at)])


def maintenance_announced(at: datetime, minutes: int) -> EmailText:
    """Say when a maintenance will begin.

    Args:
        at: in the time zone of the readers.
        minutes: how long it is expected to take.
    """
    sentences = [
        f"On {at:%Y-%m-%d at %H:%M %Z} data will be imported from FileMaker into Nexus. This takes about"
        f" {counted(minutes, 'minute')}.",
        _MEANWHILE,
        "Please save your work before then.",
    ]
    return EmailText(f"Nexus: maintenance on {at:%Y-%m-%d at %H:%M}", sentences)


def maintenance_over() -> EmailText:
    """Say that an announced maintenance is over."""
    sentences = ["The maintenance of Nexus is over.", "Reload the pages that you have open."]
    return EmailText("Nexus: maintenance is over", sentences)


def body_for_users(text: EmailText, contact: str | None) -> str:
    """Return the text of the email.

    Args:
        contact: whom to ask for help; None: no such line.
    """
    help_line = ["", f"Help: {contact}"] if contact else []
    return "\n".join([*text.sentences, *help_line]) + "\n"


def _time(at: datetime) -> list[str]:
    return ["", f"Time: {at:%Y-%m-%d %H:%M %Z}"]
