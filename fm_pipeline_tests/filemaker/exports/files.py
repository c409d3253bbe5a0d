"""Export files made in a test, and what is read from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from fm_pipeline.filemaker.exports.options import ExportOptions
from fm_pipeline.filemaker.exports.rows import RowBatch, RowFaults
from fm_pipeline.filemaker.exports.table import ExportTable
from fm_pipeline.filemaker.model import FileMakerRecord, Value

OPTIONS = ExportOptions(
    files=("Notes",),
    known=frozenset({"id", "patient", "note", "day"}),
    needed=(frozenset({"id"}),),
    date_fields=frozenset({"day"}),
)
NAMED = replace(OPTIONS, columns=("id", "day", "note"))


def written(folder: Path, content: str | bytes, name: str = "Notes.tab") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def records(path: Path, options: ExportOptions = NAMED) -> list[FileMakerRecord]:
    """Read all records with all their fields."""
    table = ExportTable(path, options)
    return list(table.records([field.name for field in table.fields]))


def values(path: Path, options: ExportOptions = NAMED) -> list[list[Value]]:
    """Read all records as lists of values."""
    return [list(record.fields.values()) for record in records(path, options)]


def pieces(text: str, at: Sequence[int]) -> Iterator[str]:
    """Divide a text at any places."""
    places = sorted({0, len(text), *(place % (len(text) + 1) for place in at)})
    for start, end in pairwise(places):
        yield text[start:end]


def rows_of(batches: Iterator[RowBatch]) -> list[tuple[int, tuple[str, ...]]]:
    """Return the rows of batches with their lines."""
    return [
        (line, row)
        for batch in batches
        for line, row in zip(batch.lines, zip(*batch.columns, strict=True), strict=True)
    ]


__all__ = ["NAMED", "OPTIONS", "RowFaults", "pieces", "records", "rows_of", "values", "written"]
