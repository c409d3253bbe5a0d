"""One export file as a table: its fields, and its records in the form of all doors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from fm_pipeline.filemaker.exports import workbook
from fm_pipeline.filemaker.exports.dates import DateReader, stated_order, time_of_day
from fm_pipeline.filemaker.exports.encoding import Encoding
from fm_pipeline.filemaker.exports.errors import ExportChanged, ExportStop
from fm_pipeline.filemaker.exports.header import (
    column_names,
    folded_headers,
    is_related,
    refuse_further_header,
    refuse_repeated,
    wrong_number,
)
from fm_pipeline.filemaker.exports.kinds import HEAD, Format, format_of, text_format
from fm_pipeline.filemaker.exports.numbers import NumberReader
from fm_pipeline.filemaker.exports.options import ExportOptions
from fm_pipeline.filemaker.exports.quoted import quoted_batches
from fm_pipeline.filemaker.exports.record_ids import RecordIds
from fm_pipeline.filemaker.exports.rows import RowBatch, RowFaults
from fm_pipeline.filemaker.exports.source_file import SourceFile
from fm_pipeline.filemaker.exports.tab import tab_batches
from fm_pipeline.filemaker.exports.xml import XmlReader, XmlRow
from fm_pipeline.filemaker.model import GROUP_SEPARATOR, Field, FileMakerRecord, Value
from fm_pipeline.filemaker.values import parse_number

_RESULTS = {"NUMBER": "number", "DATE": "date", "TIME": "time", "TIMESTAMP": "timeStamp", "CONTAINER": "container"}
_DATED = {"date", "timeStamp"}
_NUMBER = "text with a number"


@dataclass
class RowCounts:
    """What became of the rows of a file, a header not counted: `found` = records + continued + rejected.

    Attributes:
        continued: rows that have only further related values of the record before them.
        rejected: rows with another number of fields than the others.
    """

    records: int = 0
    continued: int = 0
    rejected: int = 0

    @property
    def found(self) -> int:
        """All rows."""
        return self.records + self.continued + self.rejected


class ExportTable:
    """Looks into a file; `records` reads it.

    Attributes:
        format: by its content.
        fields: in the order of the columns.
        counts: of the last complete reading.

    Raises:
        ExportStop: the file cannot be read, or its columns have no names.
    """

    def __init__(self, path: Path, options: ExportOptions) -> None:
        self.path, self.options, self.name = path, options, path.name
        self.counts = RowCounts()
        self._encoding: tuple[Encoding, int] = ("utf-8", 0)
        self._has_header = False
        self._headers: frozenset[frozenset[str]] = frozenset()  # what no record may be
        self._width: int | None = None
        self._date_format = ""
        self._sheet: tuple[int, RowBatch] | None = None  # with the digest of the workbook; until it was read
        with SourceFile(path) as file:
            self._identity = file.identity
            self.format: Format = format_of(path.suffix, file.head(HEAD))
            self.fields = self._fields_of_xml(file) if self.format == "xml" else self._fields_of_rows(file)
        # In a text field of XML people may have typed dates in another order than the file's, so they stay as they are.
        dated = () if self.format == "xml" else self.options.date_fields
        columns = (_columns_of(field, dated, self.options) for field in self.fields)
        self._columns = [column for of_field in columns for column in of_field]
        self._width = len(self._columns)

    @property
    def encoding(self) -> str:
        """The character set of a text; other formats have their own."""
        return self.format if self.format in {"xlsx", "xml"} else self._encoding[0]

    @property
    def written(self) -> float:
        """When the file was last written, in seconds."""
        return self._identity.modified / 1e9

    def is_still(self, path: Path) -> bool:
        """Whether a path has the file that was looked into."""
        with SourceFile(path) as file:
            return path == self.path and file.identity == self._identity

    def records(
        self, wanted: Collection[str], on_progress: Callable[[int, int], None] | None = None
    ) -> Iterator[FileMakerRecord]:
        """Yield every record once. An error at the end means that what came before is worth nothing.

        Args:
            wanted: names of the fields that are needed.
            on_progress: called with the records so far, and how many there will be as far as can be told.

        Raises:
            ExportStop: the file contradicts itself.
            ExportChanged: it changed during the reading.
        """
        sign = "point" if self.format == "xlsx" else self.options.decimal  # a cell with a number has no sign
        counts, faults, readers = RowCounts(), RowFaults(), (self._date_reader(), NumberReader(sign))
        folded = {name.casefold() for name in wanted}
        taken = [at for at, column in enumerate(self._columns) if column.field.name.casefold() in folded]
        names = [self._columns[at].name for at in taken]
        ids = _Ids([column.name for column in self._columns], self.options.record_id, self.name)
        with self._open() as file:
            for rows in self._batches(file, faults):
                batch = self._without_continued(rows, counts)
                columns = [self._prepared(batch, at, *readers) for at in taken]
                yield from map(FileMakerRecord, *ids.take(batch), _as_dicts(names, columns, len(batch.lines)))
                counts.records += len(batch.lines)
                if on_progress and file.read_bytes:
                    on_progress(counts.records, max(counts.records, counts.records * file.size // file.read_bytes))
            faults.refuse(self.name, self._width or 0)
            readers[0].refuse_unproved(self.name)
            readers[1].refuse_unnamed(self.name)
            file.refuse_changed()
        self._sheet = None
        counts.rejected = faults.count
        self.counts = counts
        if on_progress:
            on_progress(counts.records, counts.records)

    def _open(self) -> SourceFile:
        file = SourceFile(self.path)
        if file.identity != self._identity:
            file.close()
            raise ExportChanged(f"The export file {self.name} changed after its columns were read.")
        return file

    def _batches(self, file: SourceFile, faults: RowFaults) -> Generator[RowBatch]:
        """Yield the rows, without a header."""
        is_first = self._has_header
        for rows in self._rows(file, faults):
            batch = rows.without({0}) if is_first else rows
            is_first = False
            if self.format != "xml":
                refuse_further_header(self._headers, batch, self.name)
            yield batch

    def _rows(self, file: SourceFile, faults: RowFaults) -> Generator[RowBatch]:
        if self.format == "xml":
            yield from _xml_batches(self._xml(file), self.fields, faults)
        elif self.format == "xlsx":
            for _ in file.blocks():  # for the proof that it did not change
                pass
            if self._sheet is None or self._sheet[0] != file.digest:
                rows = workbook.workbook_rows(self.path)
                columns = workbook.text_columns(rows, self.name)
                self._sheet = file.digest, RowBatch(range(1, len(rows) + 1), columns)
            if self._sheet[1].lines:
                yield self._sheet[1]
        else:
            parse = tab_batches if self.format == "tab" else quoted_batches
            yield from parse(file.texts(*self._encoding), faults, name=self.name, width=self._width)
            if self.format != "tab":  # whose parser always wants a line end
                file.refuse_whole_sectors(self._encoding[0])

    def _fields_of_rows(self, file: SourceFile) -> list[Field]:
        if self.format != "xlsx":
            self._encoding = file.detect_encoding(self.options.encoding)
            self.format = text_format(self._named_format(), file.beginning(*self._encoding))
            self._width = len(self.options.columns) or None
        faults = RowFaults()
        with closing(self._rows(file, faults)) as batches:
            batch = next(batches, None)
        if batch is None and faults.count:
            raise wrong_number(self.name, self.options)
        if batch is None:
            raise ExportStop(
                f"The export file {self.name} is empty.",
                meaning="An empty file is never taken for a table without records. Nothing was read.",
                remedy="Look at the found set in FileMaker and export again.",
            )
        first = [column[0] for column in batch.columns]
        names, self._has_header = column_names(first, self.options, self._named_format(), self.name)
        self._headers = folded_headers(names, first) if self._has_header else folded_headers(names)
        return [Field(name, "normal", "text") for name in names]

    def _named_format(self) -> Format:
        """The format by its content, but for the suffix `.mer`, which says that there is a header."""
        return "mer" if self.path.suffix.lower() == ".mer" else self.format

    def _fields_of_xml(self, file: SourceFile) -> list[Field]:
        reader = self._xml(file)
        refuse_repeated([field.name for field in reader.fields], self.name)
        self._date_format = reader.date_format
        if (reader.in_table or 0) > (reader.found or 0) and reader.found is not None and not self.options.found_set:
            raise ExportStop(
                f"The export file {self.name} has {reader.found:,} of the {reader.in_table:,} records of its table.",
                meaning="Only a found set was exported. Nexus would lose the other records. Nothing was read.",
                remedy="Show all records in FileMaker and export again. If the found set is meant, write"
                " `found_set: true` under `export` of the entity in the mapping profile.",
            )
        return [
            Field(each.name, "normal", _RESULTS.get(each.kind, "text"), tuple(range(1, each.repetitions + 1)))
            for each in reader.fields
        ]

    def _xml(self, file: SourceFile) -> XmlReader:
        reader = XmlReader(file.blocks(), f"the export file {self.name}")
        reader.open()
        return reader

    def _date_reader(self) -> DateReader:
        """Find out the order of the dates, by reading up to the first date that proves it."""
        if self.options.dates:
            return DateReader(self.options.dates, is_named=True)
        if order := stated_order(self._date_format):
            return DateReader(order, is_named=True)
        reader = DateReader(None)
        positions = [at for at, column in enumerate(self._columns) if column.result in _DATED]
        if not positions:
            return reader
        with self._open() as file, closing(self._batches(file, RowFaults())) as batches:
            for batch in batches:
                for at in positions:
                    self._prepared(batch, at, reader, NumberReader("point"))
                if reader.proofs["dmy"] or reader.proofs["mdy"]:
                    break
        reader.order = reader.proved()
        reader.refuse_unproved(self.name)
        return DateReader(reader.order)

    def _prepared(self, batch: RowBatch, at: int, dates: DateReader, numbers: NumberReader) -> Sequence[Value]:
        """Return a column in the form of all doors: dates in ISO form, several values without the empty ones."""
        column, result = batch.columns[at], self._columns[at].result
        if not (batch.has_groups and GROUP_SEPARATOR in "".join(column)):  # much faster than asking each field
            return _converted(column, result, dates, numbers)
        several = ([value for value in text.split(GROUP_SEPARATOR) if value] or [""] for text in column)
        return [_as_one(_converted(values, result, dates, numbers)) for values in several]

    def _without_continued(self, batch: RowBatch, counts: RowCounts) -> RowBatch:
        """Leave out the rows in which only related fields are filled, as they follow the record that they belong to.

        A row with nothing in it is one too, if the file has record ids: no record is without. XML has no such rows.
        """
        own = [at for at, column in enumerate(self._columns) if not is_related(column.name)]
        if len(own) in {0, len(self._columns)} or self.format == "xml":
            return batch
        empty = {at for at, row in enumerate(zip(*(batch.columns[at] for at in own), strict=True)) if not any(row)}
        if not empty:
            return batch
        related = [batch.columns[at] for at in range(len(self._columns)) if at not in set(own)]
        has_ids = _position_of([self._columns[at].name for at in own], self.options.record_id) is not None
        continued = {
            at for at in empty if (at or counts.records) and (has_ids or any(column[at] for column in related))
        }
        counts.continued += len(continued)
        return batch.without(continued)


class _TableColumn(NamedTuple):
    """A column: its name in a record, and the type by which its values are converted."""

    name: str
    field: Field
    result: str


class _Ids:
    """Record ids and numbers of edits: of the file, of the column that the profile names, or the number of the row."""

    def __init__(self, columns: Sequence[str], known: Sequence[str], file: str) -> None:
        self._at = _position_of(columns, known)
        self._ids = RecordIds(file, is_named=self._at is not None)
        self._row = 0

    def take(self, batch: RowBatch) -> tuple[Sequence[int], Iterator[int]]:
        texts = batch.columns[self._at] if self._at is not None else batch.ids[0] if batch.ids else None
        if texts is None:
            self._row += len(batch.lines)
            return range(self._row - len(batch.lines) + 1, self._row + 1), repeat(0)
        edits = iter([int(text) if text.isdecimal() else 0 for text in batch.ids[1]]) if batch.ids else repeat(0)
        return self._ids.take(texts, batch.lines), edits


def _position_of(names: Sequence[str], known: Sequence[str]) -> int | None:
    """Return the place of the first known name that is among the names."""
    folded = [name.casefold() for name in names]
    return next((folded.index(name.casefold()) for name in known if name.casefold() in folded), None)


def _columns_of(field: Field, dated: Collection[str], options: ExportOptions) -> list[_TableColumn]:
    """Return the columns of a field: one, or one for each repetition.

    Args:
        dated: names of fields with dates that the file takes for text.
    """
    result, name = field.result, field.name.casefold()
    if result == "text":
        times, numbers = options.time_fields, options.number_fields
        result = "date" if name in dated else "time" if name in times else _NUMBER if name in numbers else result
    if len(field.repetitions) == 1:
        return [_TableColumn(field.name, field, result)]
    return [_TableColumn(f"{field.name}({n})", field, result) for n in field.repetitions]


def _converted(column: Sequence[str], result: str, dates: DateReader, numbers: NumberReader) -> Sequence[Value]:
    if result == "number":
        return [parse_number(text) for text in numbers.convert(column)]
    if result == _NUMBER:
        return numbers.convert(column)
    if result in _DATED:
        return dates.convert(column)
    return [time_of_day(text) for text in column] if result == "time" else column


def _as_one(values: Sequence[Value]) -> Value:
    """Return the only value, or several as a text."""
    return values[0] if len(values) == 1 else GROUP_SEPARATOR.join(map(str, values))


def _as_dicts(names: Sequence[str], columns: Sequence[Sequence[Value]], rows: int) -> Iterator[dict[str, Value]]:
    if not names:
        return ({} for _ in range(rows))
    return map(dict, map(zip, repeat(names), zip(*columns, strict=True)))


def _xml_batches(reader: XmlReader, fields: Sequence[Field], faults: RowFaults) -> Generator[RowBatch]:
    for found in reader.rows():
        rows = [row for row in found if len(row.values) == len(fields)]
        for row in found:
            if len(row.values) != len(fields):
                faults.add(row.line)
        columns: list[list[str]] = []
        for at, field in enumerate(fields):
            columns += _xml_columns(rows, at, len(field.repetitions), is_first_only=is_related(field.name))
        ids = [row.record_id for row in rows], [row.mod_id for row in rows]
        yield RowBatch([row.line for row in rows], columns, ids)


def _xml_columns(rows: Sequence[XmlRow], at: int, repetitions: int, *, is_first_only: bool) -> list[list[str]]:
    """Return the columns of a field: one for each repetition. More values than these are joined in the last.

    Args:
        is_first_only: they are of further related records, which no door reads.
    """
    if is_first_only:
        return [[row.values[at][n] if len(row.values[at]) > n else "" for row in rows] for n in range(repetitions)]
    if repetitions == 1:
        return [[GROUP_SEPARATOR.join(filter(None, row.values[at])) for row in rows]]
    padded = [row.values[at] + [""] * repetitions for row in rows]
    first = [[values[n] for values in padded] for n in range(repetitions - 1)]
    return [*first, [GROUP_SEPARATOR.join(filter(None, values[repetitions - 1 :])) for values in padded]]
