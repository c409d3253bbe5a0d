"""Emails about what did not come in time: a plan, a DICOM import, a DICOM file; and that it has come again."""

from __future__ import annotations

from fm_pipeline.notifications.email_texts.email_text import EmailText
from fm_pipeline.pluralize import counted


def overdue(what: str, hours: int, since: str) -> EmailText:
    """Say that something did not come.

    Args:
        what: a plan, an import or a file, in words.
        hours: within which it is expected.
        since: the sentence that says when it came last.
    """
    subject = f"Overdue: no {what} for {counted(hours, 'hour')}"
    return EmailText(subject, [since, "Look whether Dagster's daemon and its schedules run."])


def no_longer_overdue(what: str) -> EmailText:
    """Say that it has come again."""
    return EmailText(f"No longer overdue: a {what} has come", [f"A {what} has come again."])
