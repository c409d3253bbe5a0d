"""What every parser of export files yields: batches of rows by column, and what is wrong with other rows."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.pluralize import counted

_SHOWN = 10  # lines that an error names
LONGEST = 1 << 25  # characters of a record; more is a file of another form
# What a disk or a copy has lost comes as zeros, 512 bytes at least. A single NUL may have been pasted into a field.
LOST = "\0" * 16
SECTOR = 512  # bytes; a copy that was cut short nearly always ends with a whole number of them


class RowBatch(NamedTuple):
    """Rows with the same number of fields, by column, which is several times as fast in Python as row by row.

    Attributes:
        lines: numbers of the rows in the file, from 1.
        columns: one sequence for each column, all as long as `lines`. Line ends in a text are CR.
        ids: FileMaker's record ids and numbers of edits, if the format has them.
        has_groups: a field may have several values, with group separators (GS) between them.
    """

    lines: Sequence[int]
    columns: Sequence[Sequence[str]]
    ids: tuple[Sequence[str], Sequence[str]] | None = None
    has_groups: bool = True

    def without(self, left_out: Container[int]) -> RowBatch:
        """Return the batch without some rows, by their positions."""
        kept = [at for at in range(len(self.lines)) if at not in left_out]
        columns = [[column[at] for at in kept] for column in self.columns]
        ids = ([self.ids[0][at] for at in kept], [self.ids[1][at] for at in kept]) if self.ids else None
        return RowBatch([self.lines[at] for at in kept], columns, ids, self.has_groups)


@dataclass
class RowFaults:
    """Rows with another number of fields than the others. They are in no batch."""

    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        """Count a row."""
        self.count += 1
        if len(self.lines) < _SHOWN:
            self.lines.append(line)

    def refuse(self, name: str, width: int) -> None:
        """Raise if there is such a row.

        Raises:
            ExportStop: names the first lines.
        """
        if not self.count:
            return
        shown = ", ".join(f"{line:,}" for line in self.lines) + (" …" if self.count > len(self.lines) else "")
        raise ExportStop(
            f"{counted(self.count, 'row')} of {name} {'have' if self.count > 1 else 'has'} more or fewer than"
            f" {counted(width, 'field')}: line {shown}.",
            meaning="It cannot be told which value belongs to which field. Nothing was read.",
            remedy="Export it again; a file that was edited or joined by hand may have lost a quote, tab or line end.",
        )


def too_long(name: str, line: int) -> ExportStop:
    """Return the error for a record without end."""
    return ExportStop(
        f"The record in line {line:,} of {name} does not end within {LONGEST:,} characters.",
        meaning="Most likely the file has other record ends or quotes than it begins with. Nothing was read.",
        remedy="Export it again.",
    )


def cut(name: str, line: int) -> ExportStop:
    """Return the error for a last record that is not whole."""
    return ExportStop(
        f"The last record of {name}, in line {line:,}, is cut.",
        meaning="The file is not whole, so more may be missing. Nothing was read.",
        remedy="Copy or export it again.",
    )


def without_end(name: str, line: int) -> ExportStop:
    """Return the error for a last record that has all its fields, and no line end behind them."""
    return ExportStop(
        f"The last record of {name}, in line {line:,}, has no line end.",
        meaning="The file may have been cut within the last field, so more may be missing. Nothing was read.",
        remedy="Copy or export it again. If another program wrote the file and it is whole, add a line end to it.",
    )


def lost(name: str, line: int) -> ExportStop:
    """Return the error for a file in which a part is missing."""
    return ExportStop(
        f"{name} has a run of NUL characters in line {line:,}.",
        meaning="A part of the file was lost, or is not copied yet, and records with it. Nothing was read.",
        remedy="Copy or export it again.",
    )


def one_column(name: str) -> ExportStop:
    """Return the error for a file in which nothing separates fields."""
    return ExportStop(
        f"The rows of {name} have one column.",
        meaning="Its fields cannot be told apart. Nothing was read.",
        remedy="Export at least two fields, as tab-separated text, as Merge, as an Excel workbook (.xlsx) or as XML.",
    )
