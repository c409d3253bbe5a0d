"""Read an export in XML with the grammar FMPXMLRESULT.

Its rows have FileMaker's record id as an attribute. The file states the number of rows and the format of dates.

Source: Claris help, "XML FMPXMLRESULT grammar".
"""

from __future__ import annotations

import re
from xml.parsers import expat

from fm_pipeline.errors import ImageStop
from fm_pipeline.images.exports.columns import meaning_of
from fm_pipeline.staging.values.text import GROUP_SEPARATOR

_DATES = {"DATE", "TIMESTAMP"}


def xml_rows(data: bytes) -> tuple[list[list[str]], bool]:
    """Return a header and the rows. Without a column of record ids, FileMaker's own become the last column.

    Dates are converted to month first. Several values of a field (repetitions or related records) are separated as in a
    tab file.

    Returns:
        The rows, and whether the date column has a date type.

    Raises:
        ImageStop: the file is not XML, has another grammar, or is incomplete.
    """
    result = _Result()
    try:
        result.parse(data)
    except (expat.ExpatError, LookupError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise _stop(f"The XML of the export cannot be read{f', from line {line}' if line else ''}") from None
    if result.grammar != "FMPXMLRESULT":
        raise _stop("The export is XML of another grammar than FMPXMLRESULT")
    if not result.ended or (result.found is not None and result.found != len(result.rows)):
        raise _stop(f"The export says that it has {result.found or 0:,} records, and {len(result.rows):,} are there")
    if any(meaning_of(name) == "recid" for name in result.names):
        rows = [result.names, *result.rows]
    else:
        own = zip(result.rows, result.recids, strict=True)
        rows = [[*result.names, "recid"], *([*row, recid] for row, recid in own)]
    return rows if result.rows else [], result.dated


def _stop(what: str) -> ImageStop:
    return ImageStop(
        f"{what}.",
        meaning="Nothing was read from it.",
        remedy="Export it again with the grammar FMPXMLRESULT and no style sheet, or as tab-separated text.",
    )


class _Result:
    """Receives the events of the parser. Element names may have a prefix."""

    def __init__(self) -> None:
        self.grammar = ""
        self.names: list[str] = []
        self.rows: list[list[str]] = []
        self.recids: list[str] = []
        self.found: int | None = None
        self.ended = self.dated = False
        self._kinds: list[str] = []
        self._order = "mdy"
        self._row: list[str] = []
        self._values: list[str] = []
        self._text: list[str] | None = None

    def parse(self, data: bytes) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = self._entity  # FileMaker declares no entities, and they may expand without limit
        parser.Parse(data, True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2].upper()
        self.grammar = self.grammar or name
        if name == "DATABASE":
            self._order = (
                "".join(dict.fromkeys(re.sub("[^dmy]", "", attributes.get("DATEFORMAT", "").lower()))) or "mdy"
            )
        elif name == "FIELD":
            self.names.append(attributes.get("NAME", ""))
            self._kinds.append(attributes.get("TYPE", "").upper())
            self.dated |= self._kinds[-1] in _DATES and meaning_of(self.names[-1]) == "date"
        elif name == "RESULTSET":
            found = attributes.get("FOUND", "")
            self.found = int(found) if found.isdecimal() else None
        elif name == "ROW":
            self._row = []
            self.recids.append(attributes.get("RECORDID", ""))
        elif name == "COL":
            self._values = []
        elif name == "DATA":
            self._text = []

    def _end(self, name: str) -> None:
        name = name.rpartition(":")[2].upper()
        if name == "DATA":
            self._values.append("".join(self._text or ()))
            self._text = None
        elif name == "COL":
            while self._values and not self._values[-1]:  # empty repetitions at the end
                self._values.pop()
            kind = self._kinds[len(self._row)] if len(self._row) < len(self._kinds) else ""
            values = [self._day(value) for value in self._values] if kind in _DATES else self._values
            self._row.append(GROUP_SEPARATOR.join(values))
        elif name == "ROW":
            self.rows.append(self._row)
        elif name == "RESULTSET":
            self.ended = True

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _entity(self, *_: object) -> None:
        raise ValueError

    def _day(self, text: str) -> str:
        """Return a date or timestamp with its date month first."""
        if self._order == "mdy" or not (found := re.match(r"\s*(\d+)\D+(\d+)\D+(\d+)", text)):
            return text
        part = dict(zip(self._order, found.groups(), strict=False))
        return f"{part['m']}/{part['d']}/{part['y']}{text[found.end() :]}" if len(part) == len("mdy") else text
