"""Values of all doors in one form, that of the Data API with ISO dates, so that the same record gives the same digest.

    text        str; lines end with CR
    number      int or float where the whole is a number; otherwise the text
    date        YYYY-MM-DD
    time        HH:MM:SS, with more than 24 hours for a duration
    timeStamp   YYYY-MM-DDTHH:MM:SS, as the clock on the wall showed it
    empty       "" for every type

Text in a date or number field stays as it is: what it means is the business of `fm_pipeline.staging`.
"""

from __future__ import annotations

import math
import re

from fm_pipeline.filemaker.model import Value

_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")  # Python reads no longer ones
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LINE_END = re.compile(r"\r\n|\n")
_CLOCK = re.compile(r"((?:\d{4}-\d\d-\d\d[T ])?-?\d+:\d\d:\d\d)(\.\d*?)0*")


def parse_float(digits: str) -> float | str:
    """Keep a number too large for binary64 as text, because JSON has no infinity."""
    number = float(digits)
    return number if math.isfinite(number) else digits


def parse_number(text: str) -> Value:
    """Return the number that a text is, otherwise the text."""
    plain = text.strip()
    if _INTEGER.fullmatch(plain):
        return int(plain)
    return parse_float(plain) if _NUMBER.fullmatch(plain) else text


def from_odata(result: str, value: object) -> Value:
    """Return a value of OData in the common form.

    Args:
        result: type of the field, as in `Field.result`.
        value: from the JSON.

    Raises:
        TypeError: it is no single value.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value if result == "number" else str(value)
    if not isinstance(value, str):
        raise TypeError
    if result == "number":
        return parse_number(value)
    if result == "timeStamp":
        return _clock(value.removesuffix("Z"))  # FileMaker puts it on the time of the wall, in whatever zone
    return _clock(value) if result == "time" else _LINE_END.sub("\r", value)


def _clock(text: str) -> str:
    """Leave out a fraction of a second that is zero, which OData may write and the Data API does not."""
    found = _CLOCK.fullmatch(text)
    return found[1] + found[2].rstrip(".") if found else text
