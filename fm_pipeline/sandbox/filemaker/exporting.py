"""Writes a layout's records to a file, as FileMaker Pro's "Export Records" would.

Source: Claris help, "Tab-separated text", "Comma-separated text", "Merge format", "XML FMPXMLRESULT grammar", "Excel
format"; exports of FileMaker Pro 6 to 19 in public repositories. Of all formats: containers are not exported; dates and
times have the format of the file, in which no number but those of minutes and seconds begins with a zero.

- tab: no header, nothing quoted, a tab in a field becomes a blank;
- csv: no header, all values quoted, of a number field only the number in its text; mer: the same with a header, whose
  names are not quoted;
- both and tab: records end with CR, a return in a field is VT, repetitions are separated by GS;
- xlsx: a header, cells with types, only the first repetition;
- xml: types, record ids, a value for each repetition, and of a related field one for each related record;
- all others: the first related record stands in the line of its record, each further one in a line of its own.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, FieldType, LayoutDefinition
from fm_pipeline.sandbox.filemaker.data.store import Store, StoreTable
from fm_pipeline.sandbox.filemaker.data.values import FILE_LOCALE, Locale, number, numeric_part, render

_EXCEL_BEGINS = 1900
_RELATED = "::"
_ZERO = re.compile(r"(?<![\d:])0(?=\d(?!\d))")  # of a day, month or hour
_HOUR = re.compile(r"(?<![\d/.-])(\d{1,2})(:\d\d:\d\d(?:\.\d+)?)")
_RETURN = re.compile(r"\r\n|[\r\n]")
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True)
class ExportedRecord:
    """A record: its ids, and the texts of each field's repetitions, of a related field those of the related records."""

    record_id: int
    mod_id: int
    values: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Exporter:
    """Exports the layouts of one file.

    Attributes:
        locale: formats of dates and timestamps.
        encoding: of tab, csv and mer.
        separator: of csv and mer.
    """

    store: Store
    database: str
    locale: Locale = Locale()  # noqa: RUF009  # it cannot be changed
    encoding: str = "utf-8"
    separator: str = ","

    def export(self, layout: str, path: Path) -> Path:
        """Write all records of a layout; the suffix says in which format.

        Raises:
            KeyError: there is no such layout or format.
        """
        write: Mapping[str, Callable[[str, Path], object]] = {
            ".tab": self._tab, ".csv": self._csv, ".mer": self._mer, ".xlsx": self._xlsx, ".xml": self._xml,
        }  # fmt: skip
        write[path.suffix](layout, path)
        return path

    def fields(self, layout: str) -> list[FieldDefinition]:
        """Return the layout's fields in their order, without containers."""
        found = self._layout(layout)
        fields = []
        for name in found.fields:
            occurrence, _, own = name.rpartition(_RELATED)
            field = self._table(found, occurrence).fields[own]
            if field.type != "container":
                fields.append(replace(field, name=name, repetitions=1) if occurrence else field)
        return fields

    def _layout(self, layout: str) -> LayoutDefinition:
        found = self.store.layout(self.database, layout)
        if found is None:
            raise KeyError(layout)
        return found

    def _table(self, layout: LayoutDefinition, occurrence: str) -> StoreTable:
        """Return the table of an occurrence that is related to the layout's, or the layout's own."""
        if not occurrence:
            return self.store.table(self.database, layout.table)
        related = self.store.occurrence(self.database, layout.table, occurrence).related_table
        return self.store.table(self.database, related)

    def _records(self, layout: str) -> Iterator[ExportedRecord]:
        found, fields = self._layout(layout), self.fields(layout)
        table = self._table(found, "")
        columns = {f.name: [table.column(f.name, n + 1) for n in range(f.repetitions)] for f in fields
                   if _RELATED not in f.name}  # fmt: skip
        with self.store.reading() as db:
            related = {f.name: self._related(db, found, f.name) for f in fields if _RELATED in f.name}
            for row in db.execute(f"SELECT * FROM {table.rows} ORDER BY record_id"):  # noqa: S608  # our own name
                own = {name: [row[column] for column in of_field] for name, of_field in columns.items()}
                there = {name: texts.get(row["record_id"], []) for name, texts in related.items()}
                values = [(own | there)[field.name] for field in fields]
                yield ExportedRecord(row["record_id"], row["mod_id"], values)

    def _related(self, db: sqlite3.Connection, layout: LayoutDefinition, name: str) -> Mapping[int, Sequence[str]]:
        """Return the texts of a related field by record id."""
        occurrence, _, field = name.rpartition(_RELATED)
        ours, theirs = self.store.occurrence(self.database, layout.table, occurrence).match
        table, related = self._table(layout, ""), self._table(layout, occurrence)
        found: dict[int, list[str]] = defaultdict(list)
        for record_id, text in db.execute(
            f"SELECT r.record_id, o.{related.column(field, 1)} FROM {table.rows} r"  # noqa: S608  # our own names
            f" JOIN {related.rows} o ON o.{related.key(theirs)} = r.{table.key(ours)} ORDER BY r.record_id, o.record_id"
        ):
            found[record_id].append(text)
        return found

    def _texts(self, layout: str, number_of: Callable[[str], str] = str) -> Iterator[list[str]]:
        """Yield the fields of each line as text, with VT and GS.

        Args:
            number_of: converts the text of a number field.
        """
        fields = self.fields(layout)
        for line in self._lines(layout):
            shown = [[self._shown(field.type, text) for text in _filled(values)]
                     for field, values in zip(fields, line, strict=True)]  # fmt: skip
            yield [
                "\x1d".join(map(number_of, texts) if field.type == "number" else texts)
                for field, texts in zip(fields, shown, strict=True)
            ]

    def _lines(self, layout: str) -> Iterator[list[Sequence[str]]]:
        """Yield a line for each record, and one for each related record but the first."""
        is_related = [_RELATED in field.name for field in self.fields(layout)]
        for record in self._records(layout):
            cells = list(zip(is_related, record.values, strict=True))
            for n in range(max([1, *(len(values) for related, values in cells if related)])):
                yield [values[n : n + 1] if related else values if n == 0 else [] for related, values in cells]

    def _shown(self, kind: FieldType, text: str) -> str:
        if kind not in {"date", "time", "timestamp"}:
            return _RETURN.sub("\v", text)
        shown = str(render(kind, text, FILE_LOCALE, self.locale))
        if kind != "time" and shown == text:  # no date
            return _RETURN.sub("\v", text)
        shown = _ZERO.sub("", shown)
        return _HOUR.sub(_of_twelve_hours, shown) if self._has_twelve_hours else shown

    @property
    def _has_twelve_hours(self) -> bool:
        """As in the United States."""
        return self.locale.date.startswith("%m")

    def _tab(self, layout: str, path: Path) -> None:
        lines = ("\t".join(text.replace("\t", " ") for text in row) + "\r" for row in self._texts(layout))
        path.write_bytes("".join(lines).encode(self.encoding))

    def _csv(self, layout: str, path: Path, *, header: bool = False) -> None:
        lines = [self.separator.join(field.name for field in self.fields(layout))] if header else []  # without quotes
        for row in self._texts(layout, _numeric_part):
            lines.append(self.separator.join('"' + text.replace('"', '""') + '"' for text in row))
        path.write_bytes("".join(line + "\r" for line in lines).encode(self.encoding))

    def _mer(self, layout: str, path: Path) -> None:
        self._csv(layout, path, header=True)

    def _xlsx(self, layout: str, path: Path) -> None:
        import openpyxl  # noqa: PLC0415  # slow to import
        from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415

        fields = self.fields(layout)
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet(layout)
        sheet.append([field.name for field in fields])
        for line in self._lines(layout):
            cells = []
            for field, values in zip(fields, line, strict=True):
                text = values[0] if values else ""
                shown = self._shown(field.type, text).replace("\v", "\n")
                cells.append(cell := WriteOnlyCell(sheet, _cell(field.type, text, shown)))
                if isinstance(cell.value, str):
                    cell.data_type = "s"  # a text that begins with = is no formula
                elif field.type == "date":
                    cell.number_format = "yyyy-mm-dd"
            sheet.append(cells)
        book.save(path)

    def _xml(self, layout: str, path: Path) -> None:
        fields, records = self.fields(layout), list(self._records(layout))
        pattern = self.locale.date.replace("%Y", "yyyy").replace("%m", "m").replace("%d", "d")
        pattern = pattern[0].upper() + pattern[1:]  # D.m.yyyy, M/d/yyyy, Yyyy/m/d
        clock = "h:mm:ss a" if self._has_twelve_hours else "k:mm:ss "
        parts = [
            '<?xml version="1.0" encoding="UTF-8" ?><FMPXMLRESULT xmlns="http://www.filemaker.com/fmpxmlresult">'
            '<ERRORCODE>0</ERRORCODE><PRODUCT BUILD="11-11-2022" NAME="FileMaker" VERSION="ProAdvanced 19.6.1"/>'
            f'<DATABASE DATEFORMAT={quoteattr(pattern)} LAYOUT="" NAME={quoteattr(f"{self.database}.fmp12")}'
            f' RECORDS="{len(records)}" TIMEFORMAT="{clock}"/><METADATA>'
        ]
        parts += [
            f'<FIELD EMPTYOK="YES" MAXREPEAT="{field.repetitions}" NAME={quoteattr(field.name)}'
            f' TYPE="{field.type.upper()}"/>'
            for field in fields
        ]
        parts.append(f'</METADATA><RESULTSET FOUND="{len(records)}">')
        for record in records:
            parts.append(f'<ROW MODID="{record.mod_id}" RECORDID="{record.record_id}">')
            for field, values in zip(fields, record.values, strict=True):
                shown = (
                    escape(_NOT_IN_XML.sub("", self._shown(field.type, text).replace("\v", "\n"))) for text in values
                )
                parts.append("<COL>" + "".join(f"<DATA>{text}</DATA>" for text in shown) + "</COL>")
            parts.append("</ROW>")
        parts.append("</RESULTSET></FMPXMLRESULT>")
        path.write_text("".join(parts), "utf-8")


def _of_twelve_hours(clock: re.Match[str]) -> str:
    """The time of a day with AM or PM; more than a day stays as it is."""
    hour = int(clock[1])
    return clock[0] if hour > 23 else f"{hour % 12 or 12}{clock[2]} {'AM' if hour < 12 else 'PM'}"


def _filled(values: Sequence[str]) -> list[str]:
    """The repetitions up to the last one that is filled."""
    filled = list(values)
    while filled and not filled[-1]:
        filled.pop()
    return filled


def _numeric_part(text: str) -> str:
    """A text that is a number stays as it was entered; of any other there is the number in it, or nothing."""
    if not isinstance(number(text), str):
        return text
    part = numeric_part(text)
    return "" if part is None else f"{part:.15g}"


def _cell(kind: FieldType, text: str, shown: str) -> str | int | float | datetime | None:
    """The value of an Excel cell; what is none of its type, or a day before Excel's first, stays text.

    Args:
        shown: the text as other formats have it.
    """
    if kind == "number":
        return number(text) if text else None
    try:
        if text and kind in {"date", "timestamp"} and (moment := datetime.fromisoformat(text)).year >= _EXCEL_BEGINS:
            return moment
    except ValueError:
        pass
    return _NOT_IN_XML.sub("\n", shown) or None
