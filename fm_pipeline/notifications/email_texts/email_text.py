"""The text of one email, and the last lines of every alert."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from fm_pipeline.notifications.for_the_operator import who_can_do_it


class EmailText(NamedTuple):
    """What an email says.

    Attributes:
        sentences: one for each line; an empty one is an empty line.
    """

    subject: str
    sentences: Sequence[str]


def alert_body(sentences: Sequence[str], *, at: datetime, page: str | None, contact: str | None) -> str:
    """Return the text of an alert with its last lines: who can do what is advised, the time, the page, and whom to ask.

    Args:
        at: in the time zone of the readers.
        page: an address; None: no such line.
        contact: whom to ask for help; None: no such line.
    """
    said = who_can_do_it(*sentences)
    lines = [*sentences, *(["", said] if said else []), "", f"Time: {at:%Y-%m-%d %H:%M:%S %Z}"]
    if page:
        lines.append(f"Page: {page}")
    if contact:
        lines.append(f"Help: {contact}")
    return "\n".join(lines) + "\n"
