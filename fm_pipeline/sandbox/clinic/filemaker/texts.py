"""FileMaker's raw values: American dates, no time zones, carriage returns."""

from __future__ import annotations

import datetime as dt
import random

_BREAKS = ("\r", "\r", "\r", "\x0b", "\r\n", "\n")
_ENDS = ("", "", "", "", "\r", "  ", "\x0b\r ")


def raw_lines(rng: random.Random, text: str) -> str:
    """Return text with FileMaker's line breaks, of any kind, sometimes with more of them at the end."""
    return text.replace("\n", rng.choice(_BREAKS)) + (rng.choice(_ENDS) if text else "")


def raw_date(day: dt.date | None) -> str:
    """Return a date in the form of the Data API, MM/DD/YYYY."""
    return day.strftime("%m/%d/%Y") if day else ""


def raw_timestamp(moment: dt.datetime | None) -> str:
    """Return a timestamp in the form of the Data API: local time without a zone."""
    return moment.strftime("%m/%d/%Y %H:%M:%S") if moment else ""
