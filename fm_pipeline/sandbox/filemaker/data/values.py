"""Values of fields: how FileMaker stores, compares and writes them to JSON.

A value is stored as text: dates, times and timestamps in ISO form if they can be parsed, otherwise exactly as they were
entered, because real files contain `?` or `n/a` in date fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

from fm_pipeline.sandbox.filemaker.data.schema import FieldType

US, FILE_LOCALE, ISO = 0, 1, 2

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_ISO_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})", re.ASCII)
_OTHER_DATE = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})", re.ASCII)
_TIME = re.compile(r"(\d{1,5}):(\d{1,2})(?::(\d{1,2})(\.\d+)?)?(?:\s*([AaPp])\.?[Mm]\.?)?", re.ASCII)
_LINE_BREAK = re.compile(r"\r\n|\n")


@dataclass(frozen=True)
class Locale:
    """The date formats of a file.

    Args:
        date: the file's own pattern for `strftime`, used with `dateformats=1`.
        timestamp_separator: between date and time in ISO form; it is not known which one real servers use.
    """

    date: str = "%m/%d/%Y"
    timestamp_separator: str = "T"


def canonical(kind: FieldType, value: object, dateformat: int = US, locale: Locale | None = None) -> str:
    """Return the text to store for a value. Line breaks become CR; unreadable dates and times stay unchanged.

    Day and month before a four-digit year are parsed in the order of `dateformat`; ISO form is always accepted.
    """
    text = _LINE_BREAK.sub("\r", "" if value is None else _as_text(value))
    if kind in ("text", "number", "container") or not text:
        return text
    return parse(kind, text, dateformat, locale or Locale()) or text


def begins_with_iso_date(value: object) -> bool:
    """Return whether a value has a date in ISO form, which FileMaker Server takes with `dateformats=2` only."""
    return isinstance(value, str) and _ISO_DATE.match(value.strip()) is not None


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S")
    return str(value)


def parse(kind: FieldType, text: str, dateformat: int, locale: Locale) -> str | None:
    """Return the ISO form of a date, time or timestamp, or None if FileMaker would not accept the text."""
    text = text.strip()
    if kind == "date":
        return _date(text, dateformat, locale)
    if kind == "time":
        return _time(text)
    day, separator, clock = text.replace("T", " ", 1).partition(" ")
    iso_day = _date(day, dateformat, locale)
    iso_time = _time(clock) if separator else "00:00:00"
    # A time may exceed 24 hours, the time of a timestamp may not.
    return f"{iso_day}T{iso_time}" if iso_day and iso_time and iso_time < "24" else None


def _date(text: str, dateformat: int, locale: Locale) -> str | None:
    if found := _ISO_DATE.fullmatch(text):
        year, month, day = map(int, found.groups())
    elif found := _OTHER_DATE.fullmatch(text):
        first, second, year = map(int, found.groups())
        day_first = dateformat == FILE_LOCALE and locale.date.startswith("%d")
        day, month = (first, second) if day_first else (second, first)
    else:
        return None
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def _time(text: str) -> str | None:
    found = _TIME.fullmatch(text.strip())
    if not found:
        return None
    hours, minutes, seconds = int(found[1]), int(found[2]), int(found[3] or 0)
    if minutes > 59 or seconds > 59 or (found[5] and not 1 <= hours <= 12):
        return None
    if found[5]:
        hours = hours % 12 + (12 if found[5] in "pP" else 0)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{found[4] or ''}"


def render(kind: FieldType, text: str, dateformat: int, locale: Locale) -> str | int | float:
    """Return the value for the JSON of a response. Empty is `""` for every type."""
    if not text or kind in ("text", "time", "container"):
        return text
    if kind == "number":
        return number(text)
    day, _, clock = text.partition("T")
    if not _is_day(day):
        return text
    if dateformat == ISO:
        return day + (locale.timestamp_separator + clock if clock else "")
    pattern = locale.date if dateformat == FILE_LOCALE else "%m/%d/%Y"
    # strftime does not pad years before 1000, and is slow; the four parts are replaced by hand.
    day = pattern.replace("%Y", day[:4]).replace("%m", day[5:7]).replace("%d", day[8:10])
    return f"{day} {clock}" if clock else day


def number(text: str) -> str | int | float:
    """Return a JSON number if the whole text is a number, otherwise the text itself ("12 kg", "1,5")."""
    stripped = text.strip()
    if not _NUMBER.fullmatch(stripped):
        return text
    try:
        return int(stripped)
    except ValueError:
        value = float(stripped)
        return value if abs(value) != float("inf") else text


def sort_key(kind: FieldType, text: str) -> str | float | None:
    """Return the key for finds and sorts: folded text, numeric part, ISO text; None if empty or unreadable."""
    if not text or kind == "container":
        return None
    if kind == "text":
        return text.casefold()
    if kind == "number":
        return numeric_part(text)
    if kind == "time":
        found = _TIME.fullmatch(text)
        if not found:
            return None
        return int(found[1]) * 3600 + int(found[2]) * 60 + float((found[3] or "0") + (found[4] or ""))
    return text if _is_day(text.partition("T")[0]) else None


@lru_cache(maxsize=1 << 15)
def _is_day(text: str) -> bool:
    """Return whether a stored text is a day: as `canonical` writes it, and in the calendar."""
    return _date(text, ISO, Locale()) == text


def numeric_part(text: str) -> float | None:
    """Return the number in a text. FileMaker ignores all but digits, sign and point: "12 kg" is 12, "1,5" is 15."""
    value = number(text)
    if not isinstance(value, str):
        return float(value)
    digits = re.sub(r"[^\d.]", "", text).rstrip(".")
    try:
        return -float(digits) if text.lstrip().startswith("-") else float(digits)
    except ValueError:
        return None
