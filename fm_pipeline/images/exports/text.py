"""The records of a text export as columns of fields, parsed by `fm_pipeline.filemaker.exports`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from fm_pipeline.filemaker.exports.kinds import Format
from fm_pipeline.filemaker.exports.quoted import quoted_batches
from fm_pipeline.filemaker.exports.rows import LOST, SECTOR, RowFaults, lost, without_end
from fm_pipeline.filemaker.exports.tab import tab_batches

_NAME = "the export"
_END = re.compile(r"\r\n|\r|\n")


class RecordColumns(NamedTuple):
    """Records by column, which is several times as fast in Python as row by row.

    Attributes:
        numbers: positions of the records in the file, from 1; blank lines are not counted.
        columns: one sequence of texts for each column, all as long as `numbers`.
        uneven: numbers of the records with another number of fields than the first; they are not in `columns`.
    """

    numbers: Sequence[int]
    columns: Sequence[Sequence[str]]
    uneven: Sequence[int]


@dataclass
class _AllFaults(RowFaults):
    """Keeps the line of every uneven record, because each of them is listed."""

    def add(self, line: int) -> None:
        self.count += 1
        self.lines.append(line)


def refuse_incomplete(text: str, kind: Format, size: int) -> None:
    """Raise if a part of the file is missing, though the rest may be rows with all their fields.

    Args:
        size: of the file, in bytes.

    Raises:
        ExportStop: it has a run of NUL characters, or no line end and the size of a copy that was cut short.
    """
    if (at := text.find(LOST)) >= 0:
        raise lost(_NAME.capitalize(), len(_END.findall(text, 0, at)) + 1)
    if kind != "tab" and text and text[-1] not in "\r\n" and size % SECTOR == 0:  # the parser of .tab wants a line end
        raise without_end(_NAME, len(_END.findall(text)) + 1)


def text_columns(text: str, kind: Format) -> RecordColumns:
    """Parse a tab-separated, comma-separated or merge file.

    Raises:
        ExportStop: see `tab_batches` and `quoted_batches`.
    """
    faults = _AllFaults()
    batches = list((tab_batches if kind == "tab" else quoted_batches)([text], faults, name=_NAME))
    if len(batches) == 1:
        columns = list(batches[0].columns)
    else:
        columns = [list(chain(*parts)) for parts in zip(*(batch.columns for batch in batches), strict=True)]
    if not faults.lines:
        return RecordColumns(range(1, len(columns[0]) + 1 if columns else 1), columns, ())
    lines = list(chain(*(batch.lines for batch in batches)))
    number_of = {line: number for number, line in enumerate(sorted(lines + faults.lines), start=1)}
    return RecordColumns([number_of[line] for line in lines], columns, [number_of[line] for line in faults.lines])


def row_columns(rows: Iterable[Sequence[str]]) -> RecordColumns:
    """Return the columns of records that are already split into fields."""
    records = list(rows)
    if not records:
        return RecordColumns([], [], [])
    width = len(records[0])
    even = [(number, row) for number, row in enumerate(records, start=1) if len(row) == width]
    uneven = [number for number, row in enumerate(records, start=1) if len(row) != width]
    columns = list(zip(*(row for _, row in even), strict=True))
    return RecordColumns([number for number, _ in even], columns, uneven)


def in_field(text: str) -> str:
    """Return a field with its line breaks as LF; FileMaker exports a line break inside a field as VT."""
    return text.replace("\v", "\n").replace("\r\n", "\n").replace("\r", "\n")
