"""Values of all doors in one form, that of the Data API with ISO dates, so that the same record gives the same digest.

    text        str; lines end with CR
    number      int, or float if it has all digits; text if the whole is no number, or has more digits
    date        YYYY-MM-DD
    time        HH:MM:SS, with more than 24 hours for a duration
    timeStamp   YYYY-MM-DDTHH:MM:SS, as the clock on the wall showed it
    empty       "" for every type

Text in a date or number field stays as it is: what it means is the business of `fm_pipeline.staging`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation

from fm_pipeline.filemaker.model import Value

_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")  # Python reads no longer ones
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_ALWAYS_EXACT = 15  # so many digits come out of binary64 as they went in
_LINE_END = re.compile(r"\r\n|\n")
_USUAL_LENGTH = len("YYYY-MM-DDTHH:MM:SS")
_OFFSET = re.compile(r"[+-]\d\d:\d\d\Z", re.ASCII)
_CLOCK = re.compile(r"((?:\d{4}-\d\d-\d\d[T ])?-?\d+:\d\d:\d\d)(\.\d*?)0*")


def parse_float(digits: str) -> float | str:
    """Keep a number as text if binary64 cannot hold it: it would be rounded, and JSON has no infinity."""
    number = float(digits)
    if len(digits) <= _ALWAYS_EXACT and "e" not in digits and "E" not in digits:
        return number
    try:
        return number if Decimal(repr(number)) == Decimal(digits) else digits
    except InvalidOperation:  # an exponent of many digits
        return digits


def parse_number(text: str) -> Value:
    """Return the number that a text is, otherwise the text."""
    plain = text.strip()
    if _INTEGER.fullmatch(plain):
        return int(plain)
    return parse_float(plain) if _NUMBER.fullmatch(plain) else text


def is_number(text: str) -> bool:
    """Return whether the whole text is a number, of any size."""
    plain = text.strip()
    return bool(_INTEGER.fullmatch(plain) or _NUMBER.fullmatch(plain))


def odata_reader(result: str) -> Callable[[object], Value]:
    """Return the function that brings OData's values of a field into the common form.

    It raises TypeError for what is no single value.

    Args:
        result: type of the field, as in `Field.result`.
    """
    return _ODATA_READERS.get(result, _read_text)


def _read_text(value: object) -> Value:
    if isinstance(value, str):
        return _LINE_END.sub("\r", value) if "\n" in value else value
    return _no_text(value)


def _read_number(value: object) -> Value:
    if isinstance(value, str):
        return parse_number(value)
    return value if type(value) in (int, float) else _no_text(value)  # type: ignore[return-value]  # not bool


def _read_clock(value: object) -> Value:
    """Leave out a fraction of a second that is zero, which OData may write and the Data API does not.

    FileMaker puts the `Z`, or the offset of the server, on the time of the wall, in whatever zone.
    """
    if not isinstance(value, str):
        return _no_text(value)
    text = value.removesuffix("Z")
    if len(text) > _USUAL_LENGTH:
        text = _OFFSET.sub("", text)
    found = _CLOCK.fullmatch(text) if "." in text else None
    return found[1] + found[2].rstrip(".") if found else text


def _no_text(value: object) -> Value:
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return str(value)
    raise TypeError


_ODATA_READERS: Mapping[str, Callable[[object], Value]] = {
    "number": _read_number,
    "time": _read_clock,
    "timeStamp": _read_clock,
}
