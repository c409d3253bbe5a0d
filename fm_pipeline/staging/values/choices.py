"""Values that Nexus takes from a short list: title, sex, states, note types; and FileMaker's yes.

Source: docs/mapping.md. Each function takes one-line text and returns Nexus' value and the ids of the rules that
noticed something; an unknown text is never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

_TITLES = {
    "mr": "Mr",
    "mrs": "Mrs",
    "ms": "Ms",
    "miss": "Miss",
    "dr": "Dr",
    "doctor": "Dr",
    "prof": "Prof",
    "professor": "Prof",
}
_SEXES = {
    "male": "M",
    "m": "M",
    "female": "F",
    "f": "F",
    "other": "O",
    "o": "O",
    "non_binary": "O",
    "x": "O",
    "indeterminate": "O",
    "intersex": "O",
    "unknown": "U",
    "u": "U",
    "not_stated": "U",
}
_APPOINTMENT_STATES = {
    "": "scheduled",
    "scheduled": "scheduled",
    "booked": "scheduled",
    "confirmed": "scheduled",
    "checked_in": "checked_in",
    "arrived": "checked_in",
    "completed": "completed",
    "complete": "completed",
    "attended": "completed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "no_show": "no_show",
    "dna": "no_show",
    "did_not_attend": "no_show",
}
_MESSAGE_STATES = {
    "": "sent",
    "pending": "pending",
    "sent": "sent",
    "delivered": "delivered",
    "failed": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
_NOTE_TYPES = frozenset(
    {
        "clinical_notes",
        "clinic_dates",
        "order_notes",
        "admin_notes",
        "referral",
        "3d_scan_data",
        "workshop_note",
        "other",
    }
)
_YES, _NO = frozenset({"1", "true", "yes", "y"}), frozenset({"", "0", "false", "no", "n"})
_SEPARATORS = re.compile("[ _-]+")


def read_title(text: str) -> tuple[str | None, list[str]]:
    """A form of address, with or without a full stop; one that Nexus does not have is left out."""
    if not text:
        return None, []
    title = _TITLES.get(text.lower().removesuffix("."))
    return title, [] if title else ["title_unknown"]


def read_sex(text: str) -> tuple[str | None, list[str]]:
    """M, F, O or U."""
    if not text:
        return None, []
    sex = _SEXES.get(_as_name(text))
    return (sex, []) if sex else ("U", ["sex_unknown"])


def read_appointment_status(text: str) -> tuple[str, list[str]]:
    """The state of an appointment; empty is scheduled."""
    status = _APPOINTMENT_STATES.get(_as_name(text))
    return (status, []) if status else ("scheduled", ["status_unknown"])


def read_message_status(text: str) -> tuple[str, list[str]]:
    """The state of a text message; empty is sent."""
    status = _MESSAGE_STATES.get(_as_name(text))
    return (status, []) if status else ("sent", ["status_unknown"])


def read_note_type(text: str) -> tuple[str, list[str]]:
    """The type of a note; empty is other."""
    name = _as_name(text)
    if name in _NOTE_TYPES:
        return name, []
    return "other", ["note_type_unknown"] if text else []


# By the name that a reader `choice:` gives.
CHOICES: Mapping[str, Callable[[str], tuple[str | None, list[str]]]] = {
    "title": read_title,
    "sex": read_sex,
    "appointment_status": read_appointment_status,
    "message_status": read_message_status,
    "note_type": read_note_type,
}


def read_boolean(text: str) -> tuple[bool, list[str]]:
    """Whether FileMaker's flag is set; any other text than yes or no is no."""
    name = text.lower()
    return name in _YES, [] if name in _YES or name in _NO else ["boolean_unknown"]


@lru_cache(maxsize=1024)  # of the same few words on every record
def _as_name(text: str) -> str:
    return _SEPARATORS.sub("_", text.lower())
