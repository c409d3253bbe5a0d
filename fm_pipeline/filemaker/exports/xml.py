"""Read an export in XML with the grammar FMPXMLRESULT, block by block.

Its rows have FileMaker's record id and number of edits as attributes. The file states the number of rows, the types of
the fields and the format of dates. A field with repetitions has a value for each of them, and a related field one for
each related record, also an empty one; without related records it has none.

Source: Claris help, "XML FMPXMLRESULT grammar", and `fmpxmlresult_dtd.htm`, which comes with FileMaker Pro. The help
says that only one related record is exported; exports of FileMaker Pro 12 have all of them.
LAYOUT names a layout only if the export is formatted by it (TyrfingMjolnir/FMPXMLRESULT2generator, README).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.rows import LONGEST, too_long

_GRAMMAR = "FMPXMLRESULT"
_INVALID_TOKEN = expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN]
_BAD_REFERENCE = expat.errors.codes[expat.errors.XML_ERROR_BAD_CHAR_REF]  # such as &#11;
_NOT_IN_XML = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True)
class XmlField:
    """A field as METADATA describes it.

    Attributes:
        kind: TEXT, NUMBER, DATE, TIME, TIMESTAMP, CONTAINER.
    """

    name: str
    kind: str
    repetitions: int = 1


@dataclass(frozen=True, slots=True)
class XmlRow:
    """A row: `values` has the values of the repetitions of each field."""

    line: int
    record_id: str
    mod_id: str
    values: list[list[str]] = field(repr=False)


class XmlReader:
    """Reads one file. After `open`, `fields`, `found`, `in_table` and `date_format` are known.

    Attributes:
        date_format: pattern of all dates, such as `D/m/yyyy`; empty if a layout formatted them ("Apply current layout's
            data formatting"), because the file states that of the computer all the same.
        found: number of rows that the file states; None before `open`, or if the file ends in front of its rows.
        in_table: number of records of the table that it states; more than `found` if only a found set was exported.

    Args:
        blocks: the file.
        name: what errors call it, such as `the export`.

    Raises:
        ExportStop: from every method: the file is not XML, has another grammar, or is incomplete.
    """

    def __init__(self, blocks: Iterable[bytes], name: str) -> None:
        self.fields: list[XmlField] = []
        self.found: int | None = None
        self.in_table: int | None = None
        self.date_format = ""
        self._blocks, self._name = iter(blocks), name
        self._grammar = self._error_code = ""
        self._has_begun = self._has_ended = False
        self._rows: list[XmlRow] = []
        self._count = 0
        self._row: XmlRow | None = None
        self._text: list[str] | None = None
        self._since_row = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity  # FileMaker declares none, and they may expand without limit
        self._parser.SkippedEntityHandler = self._entity  # with a document type, an unknown one is left out silently

    def open(self) -> None:
        """Read up to the first row."""
        while not self._has_begun and self._grammar in {"", _GRAMMAR} and self._feed():
            pass
        if self._grammar != _GRAMMAR:
            raise _stop(f"{self._name} is XML of another grammar than {_GRAMMAR}")
        if self._error_code.strip() not in {"", "0"}:
            raise _stop(f"{self._name} says that FileMaker ended with error {self._error_code.strip()[:9]}")
        if self._has_begun and self.found is None:  # FileMaker always says it, as the only proof that none is missing
            raise _stop(f"{self._name} does not say how many records it has")

    def rows(self) -> Iterator[list[XmlRow]]:
        """Yield the rows in batches, to the end of the file."""
        while True:
            more = self._feed()
            rows, self._rows = self._rows, []
            if rows:
                yield rows
            if not more:
                break
        if not self._has_ended or (self.found is not None and self.found != self._count):
            raise _stop(f"{self._name} says that it has {self.found or 0:,} records, and {self._count:,} are there")

    def _feed(self) -> bool:
        block = next(self._blocks, b"")
        try:
            self._parser.Parse(block, not block)
        except (expat.ExpatError, LookupError, ValueError) as error:
            line = getattr(error, "lineno", None) or self._parser.CurrentLineNumber
            code = getattr(error, "code", 0)
            is_raw = code == _INVALID_TOKEN and b"\0" not in block and _NOT_IN_XML.search(block)
            if is_raw or code == _BAD_REFERENCE:
                raise _control_character(self._name, line) from None
            raise _stop(f"The XML of {self._name} cannot be read, from line {line:,}") from None
        self._since_row = 0 if self._rows else self._since_row + len(block)
        if self._since_row > LONGEST:
            raise too_long(self._name, self._parser.CurrentLineNumber)
        return bool(block)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2].upper()  # the names may have a prefix
        self._grammar = self._grammar or name
        if name in {"DATA", "ERRORCODE"}:
            self._text = []
        elif name == "COL":
            if self._row:
                self._row.values.append([])
        elif name == "ROW":
            self._row = XmlRow(
                self._parser.CurrentLineNumber, attributes.get("RECORDID", ""), attributes.get("MODID", ""), []
            )
        elif name == "RESULTSET":
            self.found = _number(attributes.get("FOUND", ""))
            self._has_begun = True
        elif name == "FIELD":
            times = _number(attributes.get("MAXREPEAT", "1"), digits=5) or 1
            kind = attributes.get("TYPE", "TEXT").upper()
            self.fields.append(XmlField(attributes.get("NAME", ""), kind, times))
        elif name == "DATABASE":
            self.date_format = "" if attributes.get("LAYOUT") else attributes.get("DATEFORMAT", "")
            self.in_table = _number(attributes.get("RECORDS", ""))

    def _end(self, name: str) -> None:
        name = name.rpartition(":")[2].upper()
        if name == "DATA":
            if self._row and self._row.values:
                self._row.values[-1].append("".join(self._text or ()).replace("\v", "\r").replace("\n", "\r"))
            self._text = None
        elif name == "ROW" and self._row:
            self._rows.append(self._row)
            self._count += 1
            self._row = None
        elif name == "ERRORCODE":
            self._error_code, self._text = "".join(self._text or ()), None
        elif name == "RESULTSET":
            self._has_ended = True

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _entity(self, *_: object) -> None:
        raise ValueError


def _number(text: str, *, digits: int = 15) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= digits else None


def _control_character(name: str, line: int) -> ExportStop:
    return ExportStop(
        f"The XML of {name} has a control character in line {line:,}, which no XML can hold.",
        meaning="Most likely somebody pasted it into a field. Nothing was read.",
        remedy="Remove it in FileMaker, for example with Filter or Substitute, or export as Merge (.mer) or as"
        " tab-separated text, which keep it.",
    )


def _stop(what: str) -> ExportStop:
    return ExportStop(
        f"{what[0].upper()}{what[1:]}.",
        meaning="Nothing was read from it.",
        remedy="Export it again with the grammar FMPXMLRESULT and no style sheet, or as tab-separated text.",
    )
