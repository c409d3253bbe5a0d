"""Emails about a sync: it has changed Nexus, waits for a person, failed, or was undone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime

from fm_pipeline.notifications.email_texts.email_text import EmailText
from fm_pipeline.notifications.email_texts.why_it_failed import safe_sentences
from fm_pipeline.pluralize import counted


def sync_committed(changed: int, kept: int, conflicts: int, *, at: datetime | None = None) -> EmailText:
    """Say what a sync has changed.

    Args:
        changed: rows of Nexus.
        kept: values and rows of Nexus that stay, without the conflicts.
        conflicts: values and rows that both sides had changed.
        at: in UTC, when it was committed, if the email comes later; None: it is committed now.
    """
    done = f"{counted(changed, 'row')} of Nexus."
    if not changed:
        done = f"No row was changed: {counted(conflicts, 'conflict was', 'conflicts were')} confirmed."
    sentences = [done, f"{counted(kept, 'value or row of Nexus stays', 'values and rows of Nexus stay')}."]
    if at:
        sentences.append(f"It was committed at {at:%Y-%m-%d %H:%M} UTC.")
    subject = "The sync has changed Nexus" if changed else "The sync is carried out, and Nexus stays as it was"
    return EmailText(subject, sentences)


def sync_waiting(sync_id: str, confirmation: str, why: Sequence[str]) -> EmailText:
    """Say why a sync waits, and how a person lets it go on.

    Args:
        confirmation: the words that the person has to type.
        why: sentences.
    """
    how = (
        f"Nexus is unchanged. Read what waits in the console or with fm-pipeline sync --show {sync_id}. To carry"
        f" it out: fm-pipeline sync --plan {sync_id} --confirm {shlex.quote(confirmation)}"
    )
    return EmailText("The sync is waiting", [*why, how])


def sync_failed(error: BaseException) -> EmailText:
    """Say why a sync failed."""
    return EmailText("The sync has failed", safe_sentences(error))


def sync_undone(rows: int, *, made_at: datetime, at: datetime) -> EmailText:
    """Say that a sync was undone.

    Args:
        rows: how many were written back.
        made_at, at: in UTC, when it was committed and undone.
    """
    sentences = [
        f"{counted(rows, 'row of Nexus is', 'rows of Nexus are')} again as before the sync of"
        f" {made_at:%Y-%m-%d %H:%M} UTC.",
        f"It was undone at {at:%Y-%m-%d %H:%M} UTC. The next sync keeps and lists these rows.",
    ]
    return EmailText("The sync was undone", sentences)
