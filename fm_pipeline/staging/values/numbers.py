"""Numbers of FileMaker, which has one type for all of them, as the text of a number that a column of Nexus can hold."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext

UNREADABLE = "number_unreadable"

_DIGITS = 1000  # more than any number that passes has, so that nothing is rounded on the way
# FileMaker keeps up to 400 digits on either side of the point.
_NUMBER = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,2})?", re.ASCII)
_NOISE = Decimal("1e-9")
_WITH_COMMAS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?", re.ASCII)
_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
_WHOLE = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
# The largest and the smallest number of a type of floating point. PostgreSQL, "Floating-Point Types".
_FLOATING = {
    "real": (Decimal("3.4e38"), Decimal("1.2e-38")),
    "double precision": (Decimal("1.7e308"), Decimal("2.3e-308")),
}


def read_number(text: str, kind: str) -> tuple[str | None, list[str]]:
    """The number as PostgreSQL reads it; None where the text is none, or the column cannot hold it whole.

    If a column cannot hold digits after the fifteenth, the number is rounded to binary64 first.

    Args:
        text: trimmed. A comma may stand between thousands; a comma for the decimals is not guessed.
        kind: the column's type, as `format_type` writes it.
    """
    if not text:
        return None, []
    plain = text.replace(",", "") if _WITH_COMMAS.fullmatch(text) else text
    if not _NUMBER.fullmatch(plain):
        return None, [UNREADABLE]
    with localcontext() as context:
        context.prec = _DIGITS
        value = Decimal(plain)
        if not _fits(value, kind):
            # FileMaker calculates with 16 decimals: 10 / 3 * 3 is 9.9999999999999999.
            nearest = Decimal(repr(float(value)))
            if not _fits(nearest, kind) or abs(nearest - value) > _NOISE:
                return None, [UNREADABLE]
            value = nearest
        return format(value.normalize() if value else Decimal(0), "f"), []


def _fits(value: Decimal, kind: str) -> bool:
    if limit := _WHOLE.get(kind):
        return value == value.to_integral_value() and -limit <= value < limit
    if kind in _FLOATING:
        largest, smallest = _FLOATING[kind]
        return not value or smallest <= abs(value) <= largest
    if match := _NUMERIC.fullmatch(kind):
        precision, scale = int(match[1]), int(match[2])
        whole = value.scaleb(scale)
        return whole == whole.to_integral_value() and abs(whole) < Decimal(10) ** precision
    return True
