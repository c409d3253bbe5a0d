"""FileMaker's record ids in an export: whole numbers above 0, each of them once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fm_pipeline.filemaker.exports.errors import ExportStop

_ID = re.compile(r"0*([1-9][0-9]{0,17})")  # 18 digits fit PostgreSQL's bigint
_NAMED = (
    "Look at `record_id` under `export` of the entity in the mapping profile: it names the field with FileMaker's"
    " Get(RecordID). Without it the records are numbered."
)
_OWN = (
    "Export it again from FileMaker and without a style sheet: every row of XML that FileMaker writes has its RECORDID."
    " Or name a field with Get(RecordID) as `record_id` under `export` of the entity in the mapping profile."
)
_DENSE = 1 << 28  # ids below this are one bit each; FileMaker counts them from 1


class RecordIds:
    """Checks the ids of one file as they pass. Millions of them take a few megabytes.

    Args:
        name: of the file, for errors.
        is_named: the ids are in a column that the profile names; otherwise they are FileMaker's own in XML.
    """

    def __init__(self, name: str, *, is_named: bool) -> None:
        self._name, self._is_named = name, is_named
        self._bits = bytearray()
        self._others: set[int] = set()

    def take(self, texts: Sequence[str], lines: Sequence[int]) -> list[int]:
        """Return the ids as numbers.

        Raises:
            ExportStop: a text is no id, or an id was there before; names the line.
        """
        ids = []
        for text, line in zip(texts, lines, strict=True):
            found = _ID.fullmatch(text.strip().removesuffix(".0"))
            if not found:
                raise self._stop("has no record id", line)
            number = int(found[1])
            if self._is_known(number):
                raise self._stop("has a record id that was there before", line)
            ids.append(number)
        return ids

    def _is_known(self, number: int) -> bool:
        if number >= _DENSE:
            known = number in self._others
            self._others.add(number)
            return known
        at, bit = number >> 3, 1 << (number & 7)
        if at >= len(self._bits):
            self._bits.extend(bytes(max(at + 1 - len(self._bits), 1 << 16)))
        known = bool(self._bits[at] & bit)
        self._bits[at] |= bit
        return known

    def _stop(self, what: str, line: int) -> ExportStop:
        return ExportStop(
            f"The record in line {line:,} of {self._name} {what}.",
            meaning="Records cannot be told apart by it. Nothing was read.",
            remedy=_NAMED if self._is_named else _OWN,
        )
