"""Emails about a restore drill: it succeeded or failed."""

from __future__ import annotations

from collections.abc import Sequence

from fm_pipeline.notifications.email_texts.email_text import EmailText
from fm_pipeline.notifications.email_texts.why_it_failed import safe_sentences


def drill_succeeded(result: str, notes: Sequence[str]) -> EmailText:
    """Say what a drill has shown.

    Args:
        result: the sentence of its report.
        notes: differences of the schema, in sentences.
    """
    return EmailText("Restore drill succeeded", [result, *notes])


def drill_failed(error: BaseException) -> EmailText:
    """Say why a drill failed."""
    return EmailText("Restore drill FAILED", safe_sentences(error))
