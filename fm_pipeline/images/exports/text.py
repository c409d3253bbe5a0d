"""Parse the records of a text export into columns of fields.

Source: Claris help, "Tab-separated text", "Comma-separated text" and "Merge format": records end with CR, a line
break inside a field is VT, repetitions are separated by GS, tab files quote nothing. Never `str.splitlines()`: it
takes VT, GS and U+2028 for line ends.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fm_pipeline.errors import ImageStop
from fm_pipeline.filemaker.exports.quoted import separator_of

_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_FIELD_LIMIT = 1 << 24  # characters; csv's own limit of 131,072 is less than a long note


class RecordColumns(NamedTuple):
    """Records by column, which is several times as fast in Python as row by row.

    Attributes:
        numbers: positions of the records in the file, from 1; blank lines are not counted.
        columns: one sequence of texts for each column, all as long as `numbers`.
        uneven: numbers of the records with another number of fields than the first; they are not in `columns`.
        last: number of fields of the last record.
    """

    numbers: Sequence[int]
    columns: Sequence[Sequence[str]]
    uneven: Sequence[int]
    last: int


def tab_columns(text: str) -> RecordColumns:
    """Parse a tab-separated file. Records end with CR, LF or CRLF, also mixed; the last end may be missing.

    If one kind of line end alone gives records of equal width and all kinds together do not, the other kinds belong to
    the fields and are kept.
    """
    if even := _even_columns(text):
        return even
    lines, widths = _lines(_LINE_ENDS.split(text) if "\r\n" in text else text.replace("\r", "\n").split("\n"))
    fewest = len(widths) - widths.count(widths[0]) if widths else 0
    for end in ("\r\n", "\r", "\n") if fewest else ():
        others, their_widths = _lines(text.split(end))
        if len(others) > 1 and (uneven := len(others) - their_widths.count(their_widths[0])) < fewest:
            lines, widths, fewest = others, their_widths, uneven
    if not lines:
        return RecordColumns([], [], [], 0)
    width, numbers, uneven_numbers = widths[0], list(range(1, len(lines) + 1)), []
    if fewest:
        uneven_numbers = [n for n, tabs in zip(numbers, widths, strict=True) if tabs != width]
        lines = [line for line, tabs in zip(lines, widths, strict=True) if tabs == width]
        numbers = [n for n, tabs in zip(numbers, widths, strict=True) if tabs == width]
    cells = "\t".join(lines).split("\t")
    return RecordColumns(numbers, [cells[n :: width + 1] for n in range(width + 1)], uneven_numbers, widths[-1] + 1)


def _even_columns(text: str) -> RecordColumns | None:
    """Parse a file whose records all have the same number of fields, without a Python step for each record."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    rows, width = text.count("\n") + 1, text.split("\n", 1)[0].count("\t") + 1
    cells = text.replace("\n", "\t\n").split("\t")
    first = "".join(cells[::width])
    if width == 1 or len(cells) != rows * width or first.count("\n") != rows - 1:
        return None
    # All line ends are in cells of the first column, at most one in each: so every record has this width.
    columns = [first.split("\n"), *(cells[n::width] for n in range(1, width))]
    return RecordColumns(range(1, rows + 1), columns, (), width)


def _lines(lines: list[str]) -> tuple[list[str], list[int]]:
    """Return the lines that are not blank, and the number of tabs in each."""
    lines = [line for line in lines if line]
    return lines, [line.count("\t") for line in lines]


def row_columns(rows: Iterable[Sequence[str]]) -> RecordColumns:
    """Return the columns of records that are already split into fields."""
    records = list(rows)
    if not records:
        return RecordColumns([], [], [], 0)
    width = len(records[0])
    even = [(number, row) for number, row in enumerate(records, start=1) if len(row) == width]
    uneven = [number for number, row in enumerate(records, start=1) if len(row) != width]
    columns = list(zip(*(row for _, row in even), strict=True))
    return RecordColumns([number for number, _ in even], columns, uneven, len(records[-1]))


def quoted_records(text: str) -> Iterator[list[str]]:
    """Parse a comma-separated or merge file; see `separator_of`.

    Raises:
        ImageStop: a quote is not closed, or text follows it; names the record's number.
    """
    csv.field_size_limit(_FIELD_LIMIT)
    separator, _ = separator_of(io.StringIO(text, newline=""))
    return _quoted(text, separator)


def _quoted(text: str, separator: str) -> Iterator[list[str]]:
    number = 0
    try:
        # strict: otherwise an unclosed quote silently swallows the rest of the file
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True):
            if record:
                number += 1
                yield record
    except csv.Error:
        raise ImageStop(
            f"Record {number + 1} of the export has a quote that does not end, or text behind one.",
            meaning="What follows it cannot be told apart. Nothing was read.",
            remedy="Export it again, or as tab-separated text, which quotes nothing.",
        ) from None


def in_field(text: str) -> str:
    """Return a field with its line breaks as LF; FileMaker exports a line break inside a field as VT."""
    return text.replace("\v", "\n").replace("\r\n", "\n").replace("\r", "\n")
