"""Read an export in XML with the grammar FMPXMLRESULT as a header and rows.

Its rows have FileMaker's record id as an attribute. The file states the format of dates, unless a layout formatted
them: then their order must be known, as in text.
"""

from __future__ import annotations

import re
from collections.abc import Set

from fm_pipeline.filemaker.exports.xml import XmlReader
from fm_pipeline.filemaker.model import GROUP_SEPARATOR
from fm_pipeline.images.exports.columns import meaning_of

_DATES = {"DATE", "TIMESTAMP"}


def xml_rows(data: bytes) -> tuple[list[list[str]], Set[int]]:
    """Return a header and the rows. Without a column of record ids, FileMaker's own become the last column.

    Dates are converted to month first. Several values of a field (repetitions or related records) are separated as in a
    tab file.

    Returns:
        The rows, and the places of the columns that have dates of a stated format.

    Raises:
        ExportStop: the file is not XML, has another grammar, or is incomplete.
    """
    reader = XmlReader([data], "the export")
    reader.open()
    order = "".join(dict.fromkeys(re.sub("[^dmy]", "", reader.date_format.lower()))) or "mdy"
    kinds = [field.kind for field in reader.fields]
    names = [field.name for field in reader.fields]
    dated = {place for place, field in enumerate(reader.fields) if field.kind in _DATES and reader.date_format}
    has_own = any(meaning_of(name) == "recid" for name in names)
    rows = [names if has_own else [*names, "recid"]]
    for row in (row for batch in reader.rows() for row in batch):
        cells = [_cell(values, kinds[at : at + 1], order) for at, values in enumerate(row.values)]
        rows.append(cells if has_own else [*cells, row.record_id])
    return rows if len(rows) > 1 else [], dated


def _cell(values: list[str], kind: list[str], order: str) -> str:
    filled = list(values)
    while filled and not filled[-1]:  # empty repetitions at the end
        filled.pop()
    return GROUP_SEPARATOR.join([_day(value, order) for value in filled] if _DATES & set(kind) else filled)


def _day(text: str, order: str) -> str:
    """Return a date or timestamp with its date month first."""
    if order == "mdy" or not (found := re.match(r"\s*(\d+)\D+(\d+)\D+(\d+)", text)):
        return text
    part = dict(zip(order, found.groups(), strict=False))
    return f"{part['m']}/{part['d']}/{part['y']}{text[found.end() :]}" if len(part) == len("mdy") else text
