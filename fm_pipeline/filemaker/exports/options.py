"""What a mapping profile says of an export file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fm_pipeline.filemaker.exports.encoding import Encoding

DateOrder = Literal["dmy", "mdy", "iso"]
"""The order of day, month and year; `iso` is the year first."""
TypedOrder = Literal["dmy", "mdy"]
"""The order of day and month in dates that people have typed. With the year first it needs no proof."""

DecimalSign = Literal["comma", "point"]
"""What stands in front of the decimals of a number."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The file of an entity, and what cannot be seen in it. All names are compared without regard to case.

    Attributes:
        files: names that the file may have, without their suffix.
        known: names of fields that a header may have.
        needed: of each group, a header has at least one name.
        date_fields: those that hold dates or timestamps, where the file takes them for text.
        time_fields: those that hold times, likewise.
        number_fields: those that hold numbers, likewise.
        columns: names of all columns in order, of a file without a header.
        record_id: the columns that may have FileMaker's record id; the first that is there counts.
        dates: their order, if the file cannot prove it.
        decimal: the sign in front of the decimals, if there are commas.
        encoding: of text, if it cannot be detected.
        found_set: the file may have fewer records than the table.
    """

    files: Sequence[str] = ()
    known: frozenset[str] = frozenset()
    needed: Sequence[frozenset[str]] = ()
    date_fields: frozenset[str] = frozenset()
    time_fields: frozenset[str] = frozenset()
    number_fields: frozenset[str] = frozenset()
    columns: Sequence[str] = ()
    record_id: Sequence[str] = ()
    dates: DateOrder | None = None
    decimal: DecimalSign | None = None
    encoding: Encoding | None = None
    found_set: bool = False
