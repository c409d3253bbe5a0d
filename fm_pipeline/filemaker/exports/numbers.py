"""The decimal sign of the numbers in an export file, which is that of the FileMaker file. It is named, never guessed.

A comma may stand in front of the decimals or between thousands: `1,234` is 1.234 in one file and 1234 in another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.options import DecimalSign
from fm_pipeline.pluralize import counted

_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d*),\d+(?:[eE][+-]?\d{1,4})?", re.ASCII)
_POINTS_BETWEEN_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+", re.ASCII)


class NumberReader:
    """Writes the numbers of one file with a point, and counts those that have a comma in front of their decimals.

    Args:
        sign: None if the profile does not name it.
    """

    def __init__(self, sign: DecimalSign | None) -> None:
        self._sign = sign
        self._commas = 0

    def convert(self, column: Sequence[str]) -> Sequence[str]:
        """Return a column with its decimal commas as points. What is no number stays as it is."""
        if self._sign == "point":
            return column
        if self._sign == "comma":
            return [self._with_point(text) if "," in text or "." in text else text for text in column]
        for text in column:
            if "," in text and _DECIMAL_COMMA.fullmatch(text.strip()) and not _THOUSANDS.fullmatch(text.strip()):
                self._commas += 1
        return column

    def refuse_unnamed(self, name: str) -> None:
        """Raise if there are decimal commas, and nobody has said what a comma means.

        Raises:
            ExportStop: says how to name the sign.
        """
        if self._commas:
            raise ExportStop(
                f"{counted(self._commas, f'number of {name} has', f'numbers of {name} have')} a comma in front of the"
                " decimals.",
                meaning="If the FileMaker file has a decimal comma, 1,234 is not 1234. Nothing was read.",
                remedy="Write `decimal: comma` or `decimal: point` under `export` of the entity in the mapping profile."
                " With `point`, a number such as 1,5 stays text.",
            )

    def _with_point(self, text: str) -> str:
        plain = text.strip()
        if _DECIMAL_COMMA.fullmatch(plain):
            return plain.replace(".", "").replace(",", ".")
        return plain.replace(".", "") if _POINTS_BETWEEN_THOUSANDS.fullmatch(plain) else text
