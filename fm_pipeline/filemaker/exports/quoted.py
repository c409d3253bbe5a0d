"""Parse comma-separated and merge files line by line.

Source: Claris help, "Comma-separated text" and "Merge format": all values are quoted (up to FileMaker 16 but for
numbers), a quote in a value is doubled, records end with CR, a line break inside a field is VT. The separator of a
merge file is a comma or, by the regional settings of the computer, a semicolon. Python's `csv` does the work; `strict`,
because otherwise a quote that is not closed silently swallows the rest of the file.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.rows import LONGEST, RowBatch, RowFaults, cut, one_column, too_long, without_end

SEPARATORS = (",", ";", "\t")
_ROWS = 2000  # in a batch
_LONGEST_FIRST = 1 << 20  # characters of the first row
_BREAK = re.compile(r"\r\n|[\n\v]")
_WHOLE_QUOTES = {
    each: re.compile(rf'(?:"(?:[^"]|"")*+"|[^"{each}]*+)(?:{each}(?:"(?:[^"]|"")*+"|[^"{each}]*+))*+')
    for each in SEPARATORS
}


def quoted_batches(
    texts: Iterable[str], faults: RowFaults, *, name: str, width: int | None = None
) -> Iterator[RowBatch]:
    """Yield the rows of a file. Blank lines are no rows. The last record end may be missing behind a quote.

    `SourceFile.refuse_whole_sectors` says when it may not. The separator is the one that gives the first row the most
    fields. For the arguments see `tab.tab_batches`.

    Raises:
        ExportStop: a quote is not closed, or text follows it; there is one column, the last record is cut or may be, or
            a record is too long. Names the line.
    """
    csv.field_size_limit(LONGEST)
    lines = _TextLines(texts, name)
    try:
        separator, first = separator_of(lines)
        reader = csv.reader(chain(first, lines), delimiter=separator, strict=True)
        yield from _batches(reader, lines, faults, name, width)
    except csv.Error as error:
        if "limit" in str(error):  # of a field
            raise too_long(name, lines.number) from None
        if lines.has_ended:
            raise cut(name, lines.number) from None
        raise ExportStop(
            f"A quote in line {lines.number:,} of {name} does not end, or text stands behind one.",
            meaning="What follows it cannot be told apart. Nothing was read.",
            remedy="Export it again, or as tab-separated text, which quotes nothing.",
        ) from None


def _batches(
    reader: Iterator[list[str]], lines: _TextLines, faults: RowFaults, name: str, width: int | None
) -> Iterator[RowBatch]:
    numbered = _numbered(reader, lines)
    last = 0
    while rows := list(islice(numbered, _ROWS)):
        width = width or len(rows[0][1])
        if width == 1:
            raise one_column(name)
        for line, row in rows:
            if len(row) != width:
                faults.add(line)
        last = len(rows[-1][1])
        even = [(line, row) for line, row in rows if len(row) == width]
        if even:
            columns = zip(*(row for _, row in even), strict=True)
            yield RowBatch([line for line, _ in even], [_with_cr(column) for column in columns])
    if not width or lines.last_is_ended:
        return
    if last < width:
        raise cut(name, lines.number)
    if not lines.last_is_closed:
        raise without_end(name, lines.number)


def _numbered(reader: Iterator[list[str]], lines: _TextLines) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with the lines in which they begin."""
    begins = 1
    for row in reader:
        if row:
            yield begins, row
        begins = lines.number + 1


def _with_cr(column: tuple[str, ...]) -> tuple[str, ...]:
    """Return a column with line breaks in its fields as CR."""
    joined = "".join(column)  # much faster than asking each field
    if "\v" in joined or "\n" in joined:
        return tuple([_BREAK.sub("\r", text) for text in column])
    return column


def separator_of(lines: Iterable[str]) -> tuple[str, list[str]]:
    """Return the separator, and the lines that were looked at: up to the end of the first row.

    It is the one that gives the first row the most fields, with quotes around whole fields only: a number in front of
    quoted texts is not quoted by FileMaker 16 and earlier, and such a text may hold many other separators.
    """
    first: list[str] = []
    length = quotes = 0
    for line in lines:
        first.append(line)
        length, quotes = length + len(line), quotes + line.count('"')
        if (line.strip("\r\n") and quotes % 2 == 0) or length > _LONGEST_FIRST:
            break
    return max(SEPARATORS, key=lambda each: _fields(first, each)), first


def has_whole_quotes(row: str, separator: str) -> bool:
    """Return whether a row has quotes, and a separator puts all of them around whole fields."""
    return '"' in row and _WHOLE_QUOTES[separator].fullmatch(row.strip("\r\n")) is not None


def _fields(lines: list[str], separator: str) -> tuple[bool, int]:
    """Return whether there are quotes around whole fields only, and how many fields a separator gives the first row.

    There are none if text would stand behind a quote.
    """
    try:
        fields = len(next((row for row in csv.reader(lines, delimiter=separator, strict=True) if row), ()))
    except csv.Error:
        return False, 0
    row = "".join(lines)
    return fields > 1 and ('"' not in row or has_whole_quotes(row, separator)), fields


class _TextLines:
    """The lines of a text with their ends, which are CR, LF or CRLF."""

    def __init__(self, texts: Iterable[str], name: str) -> None:
        self._texts, self._name = iter(texts), name
        self._ready: Iterator[str] = iter(())
        self._left = ""
        self.number = 0  # of the last line
        self.has_ended = False
        self.last_is_ended = True
        self.last_is_closed = False  # by a quote

    def __iter__(self) -> _TextLines:
        return self

    def __next__(self) -> str:
        while (line := next(self._ready, None)) is None:
            if self.has_ended:
                raise StopIteration
            self._more()
        self.number += 1
        self.last_is_ended, self.last_is_closed = line[-1] in "\r\n", line[-1] == '"'
        return line

    def _more(self) -> None:
        text = next(self._texts, None)
        if text is None:
            self.has_ended = True
            self._ready, self._left = iter(io.StringIO(self._left, newline="")), ""
            return
        text = self._left + text
        end = len(text) - text.endswith("\r")  # it may be the first half of CRLF
        at = max(text.rfind("\r", 0, end), text.rfind("\n", 0, end)) + 1
        if at and text[at - 1] == "\r" and text.startswith("\n", at):
            at += 1
        self._ready, self._left = iter(io.StringIO(text[:at], newline="")), text[at:]
        if len(self._left) > LONGEST:
            raise too_long(self._name, self.number + 1)
