"""How FileMaker writes what is: American dates, no zones, carriage returns."""

from __future__ import annotations

import datetime as dt
import random

_BREAKS = ("\r", "\r", "\r", "\x0b", "\r\n", "\n")
_ENDS = ("", "", "", "", "\r", "  ", "\x0b\r ")


def raw_lines(rng: random.Random, text: str) -> str:
    """Text of several lines as FileMaker holds it: any of its line breaks, at times more of them at the end."""
    return text.replace("\n", rng.choice(_BREAKS)) + (rng.choice(_ENDS) if text else "")


def raw_date(day: dt.date | None) -> str:
    """A date as the Data API gives it, MM/DD/YYYY."""
    return day.strftime("%m/%d/%Y") if day else ""


def raw_timestamp(moment: dt.datetime | None) -> str:
    """A timestamp as the Data API gives it: the clinic's clock, no zone."""
    return moment.strftime("%m/%d/%Y %H:%M:%S") if moment else ""
