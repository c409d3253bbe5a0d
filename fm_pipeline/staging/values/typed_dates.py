"""Dates that people have typed into text fields: FileMaker does not know that they are dates.

Their order is named in the profile or proved by the dates of the field (`staging/origin.py`), never guessed:
`18/10/2016` proves that the day is first, `10/18/2016` that the month is.
"""

from __future__ import annotations

from collections.abc import Mapping

from fm_pipeline.filemaker.exports.dates import DateReader
from fm_pipeline.filemaker.exports.options import TypedOrder

UNKNOWN = "date_order_unknown"
_BOTH: tuple[TypedOrder, ...] = ("dmy", "mdy")


class TypedDates:
    """Reads the typed dates of one field.

    Args:
        order: None if it is not known; then only the dates are read that fit one order alone.
    """

    def __init__(self, order: TypedOrder | None) -> None:
        self._readers = [DateReader(each, is_named=True) for each in ([order] if order else _BOTH)]

    def read(self, text: str) -> tuple[str, list[str]]:
        """Return a text with its date in ISO form, other texts as they are, and the ids of the rules it breaks."""
        readings = {reader.convert([text])[0] for reader in self._readers} - {text}
        if len(readings) > 1:
            return "", [UNKNOWN]
        return readings.pop() if readings else text, []


def readers(orders: Mapping[str, TypedOrder | None]) -> dict[str, TypedDates]:
    """Return what reads each field, by its canonical name."""
    return {name: TypedDates(order) for name, order in orders.items()}
