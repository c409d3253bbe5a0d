"""Parse tab-separated text block by block.

Source: Claris help, "Tab-separated text": records end with CR, a line break inside a field is VT, nothing is quoted.
Programs through which a file passed may have written LF or CRLF instead, and a text may hold an LF that somebody
pasted. So the record end is the kind that gives records of equal width, and a line end of another kind is

- part of a field, if the record around it has the right number of fields;
- a record end too, if each of the parts has the right number of fields;
- a fault otherwise: the record is in no batch.

With two columns or more, at most one of the first two can be true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.rows import LONGEST, RowBatch, RowFaults, cut, one_column, too_long, without_end
from fm_pipeline.filemaker.model import GROUP_SEPARATOR

_ANY_END = re.compile(r"\r\n|\r|\n")
_ENDS = {"\r": re.compile(r"\r\n|\r"), "\n": re.compile(r"\r\n|\n"), "\r\n": re.compile(r"\r\n")}
_LAST_END = re.compile(r"(?:\r\n|\r|\n)\Z")
_SAMPLE = 1 << 20  # characters by which the record end is chosen


def tab_batches(texts: Iterable[str], faults: RowFaults, *, name: str, width: int | None = None) -> Iterator[RowBatch]:
    """Yield the rows of a file. Blank lines are no rows.

    Args:
        texts: the file in blocks, however it is divided.
        faults: takes the rows that have another number of fields.
        name: of the file, for errors.
        width: number of fields, if it is known; otherwise the first row has it.

    Raises:
        ExportStop: there is one column, the last record is cut or may be, or a record is too long.
    """
    texts = iter(texts)
    buffered: list[str] = []
    length = 0
    for text in texts:
        buffered.append(text)
        length += len(text)
        if length > _SAMPLE:
            break
    sample = "".join(buffered)
    parser = _TabParser(faults, name, _record_end(sample, name, width), width)
    for text in chain([sample], texts):
        yield from parser.feed(text)
    yield from parser.end()


def _record_end(sample: str, name: str, width: int | None) -> str:
    """Return the kind of line end that gives the fewest faults.

    Raises:
        ExportStop: two kinds give no faults, and different rows.
    """
    if "\n" not in sample or "\r" not in sample:
        return "\n" if "\n" in sample else "\r"
    is_whole, sample = len(sample) <= _SAMPLE, sample[:_SAMPLE]
    both = sample.count("\r\n")
    counts = {"\r": sample.count("\r") - both, "\n": sample.count("\n") - both, "\r\n": both}
    kinds = sorted((kind for kind, count in counts.items() if count), key=lambda kind: -counts[kind])
    if len(kinds) < 2:
        return kinds[0] if kinds else "\r"
    divided = {kind: _divided(sample, kind, width, is_whole=is_whole) for kind in kinds}
    best, *others = sorted(kinds, key=lambda kind: divided[kind].count(None))
    for other in others:
        rows = [row for row in divided[best] if row is not None]
        # A line end at the edge of a record makes no difference: a text that ends with one, or a blank line.
        edges = ([row.strip("\r") for row in found if row is not None] for found in (rows, divided[other]))
        if None not in divided[other] and any(a != b for a, b in zip(*edges, strict=False)):
            raise ExportStop(
                f"The line ends of {name} can be read in two ways: some of them end a record or belong to a field.",
                meaning="Both ways give rows with the right number of fields. Nothing was read.",
                remedy="Export it again, and do not convert its line ends.",
            )
    return best


def _divided(text: str, end: str, width: int | None, *, is_whole: bool) -> list[str | None]:
    """Return the rows that a kind of record end gives, with None in place of a record that has another width."""
    chunks = _ENDS[end].split(text)
    chunks = [chunk for chunk in (chunks if is_whole else chunks[:-1]) if chunk]
    width = width or (chunks[0].count("\t") + 1 if chunks else 0)
    rows: list[str | None] = []
    for chunk in chunks:
        rows += _rows_of(chunk, width) or [None]
    return rows


def _rows_of(chunk: str, width: int) -> list[str] | None:
    """Return the rows between two record ends, with line ends in fields as CR; None if their widths are wrong."""
    if chunk.count("\t") == width - 1:
        return [_ANY_END.sub("\r", chunk)]
    rows = [row for row in _ANY_END.split(chunk) if row]
    return rows if all(row.count("\t") == width - 1 for row in rows) else None


class _TabParser:
    """Keeps what the last block left over."""

    def __init__(self, faults: RowFaults, name: str, end: str, width: int | None) -> None:
        self._faults, self._name, self._end, self._width = faults, name, end, width
        self._left = ""
        self._line = 1  # of the next record

    def feed(self, text: str) -> Iterator[RowBatch]:
        text = self._left + text
        # A CR at the end may be the first half of CRLF.
        at = text.rfind(self._end, 0, len(text) - text.endswith("\r"))
        if at < 0:
            self._left = text
            if len(text) > LONGEST:
                raise too_long(self._name, self._line)
            return
        at += len(self._end)
        if self._end == "\r" and text.startswith("\n", at):
            at += 1
        self._left = text[at:]
        yield from self._batches(text[:at])

    def end(self) -> Iterator[RowBatch]:
        last = _LAST_END.sub("", self._left)
        if not last:
            return
        is_ended, line, faults = last != self._left, self._line, self._faults.count
        yield from self._batches(last + self._end)
        if is_ended:
            return
        if self._faults.count == faults:
            raise without_end(self._name, self._line - 1)
        if last.count("\t") < (self._width or 0) - 1:
            raise cut(self._name, line)

    def _batches(self, text: str) -> Iterator[RowBatch]:
        """Yield the rows of a text that ends with a record end."""
        if (plain := self._with_lf(text)) and (batch := self._even(plain)):
            yield batch
            return
        lines, rows = [], []
        for chunk in _ENDS[self._end].split(text)[:-1]:
            line = self._line
            self._line += 1
            if not chunk:
                continue
            self._line += len(_ANY_END.findall(chunk))
            width = self._known_width(chunk)
            found = _rows_of(chunk, width)
            if found is None:
                self._faults.add(line)
            else:
                lines += [line + n for n in range(len(found))]
                rows += found
        if rows:
            cells = "\t".join(rows).replace("\v", "\r").split("\t")
            width = self._width or 0
            yield RowBatch(lines, [cells[n::width] for n in range(width)])

    def _with_lf(self, text: str) -> str | None:
        """Return the text with LF as record end, if there is no line end of another kind in it."""
        if self._end == "\r\n":
            ends = text.count("\r\n")
            return text.replace("\r\n", "\n") if ends == text.count("\r") == text.count("\n") else None
        other = "\n" if self._end == "\r" else "\r"
        if other in text:
            text = text.replace("\r\n", self._end)
            if other in text:
                return None
        return text.replace("\r", "\n")

    def _even(self, text: str) -> RowBatch | None:
        """Parse rows that all have the same number of fields, without a Python step for each; None if they do not."""
        text = text[:-1].replace("\v", "\r")
        if not text or text.startswith("\n"):
            return None
        width = self._known_width(text.split("\n", 1)[0])
        rows = text.count("\n") + 1
        cells = text.replace("\n", "\t\n").split("\t")
        first = "".join(cells[::width])
        if len(cells) != rows * width or first.count("\n") != rows - 1:
            return None
        # All line ends are in cells of the first column, at most one in each: so every row has this width.
        self._line += rows
        columns = [first.split("\n"), *(cells[n::width] for n in range(1, width))]
        return RowBatch(range(self._line - rows, self._line), columns, has_groups=GROUP_SEPARATOR in text)

    def _known_width(self, row: str) -> int:
        if self._width is None:
            self._width = row.count("\t") + 1
        if self._width == 1:
            raise one_column(self._name)
        return self._width
