"""Read an export that is an Excel workbook: the cells of its one sheet as text.

calamine reads a workbook at a multiple of openpyxl's rate, and a cell keeps its type. A sheet is held in memory, so
there is a limit. Excel itself loses two things, which are refused: text behind the 32,767th character, and digits
behind the 15th. Formulas are refused too: FileMaker exports none, and a result may be missing. So are merged cells, of
which only the first has the value, and negative times, which calamine shows as times of the day
(findings/calamine-negative-times.sh).
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import BinaryIO

from fm_pipeline.filemaker.exports.errors import ExportStop

LARGEST = 512 << 20  # bytes of all parts of a workbook, unpacked: about 1,000,000 rows of 20 columns
# Readers make room for every cell up to the last one.
MOST_CELLS = 25_000_000
_LONGEST_TEXT = 32_767  # characters of a cell; Microsoft, "Excel specifications and limits"
_FIRST_INEXACT = 10**15
_BREAK = re.compile(r"\r\n|[\n\v]")
# The two calendars of workbooks. A workbook has no zones.
_DAYS_0 = (datetime(1899, 12, 31), datetime(1904, 1, 1))  # noqa: DTZ001
_LONGEST_DURATION = timedelta(days=59)  # Excel's calendar has a 29 February 1900
_HALF_A_SECOND = timedelta(microseconds=500_000)
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_ERROR = re.compile(rb"""<(?:\w+:)?c\s[^<>]*\bt\s*=\s*["']e["']""")  # of a formula
_NEGATIVE = re.compile(rb"<(?:\w+:)?v(?:\s[^<>]*)?>\s*-")
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell[\s/>]")
_PLACE = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]{0,3})([0-9]{1,9})["']""")  # of a cell: AB12; of a row: 12
_WIDE = (b"<\0", b"\0<", b"\xff\xfe<\0", b"\xfe\xff\0<")  # XML in UTF-16
_LONGEST_TAG = 256  # bytes of `<c r="AB12" s="65490" t="e">`, and much more
_CHUNK = 1 << 20
_REMEDY = "Export it again, or as tab-separated text."

Cell = str | int | float | bool | date | datetime | time | timedelta


def workbook_rows(path: Path) -> list[list[Cell]]:
    """Return the cells of the sheet, without empty rows at its end. An empty cell is an empty text.

    Raises:
        ExportStop: the file is not a workbook, is too large, has two sheets with cells, or has formulas or negative
            times.
    """
    import python_calamine  # noqa: PLC0415  # slow to import

    has_negative_numbers = refuse_unfit(path, path.name)
    try:
        with python_calamine.CalamineWorkbook.from_path(path) as book:
            sheets = [book.get_sheet_by_name(name) for name in book.sheet_names]
            filled = [sheet for sheet in sheets if sheet.total_height]
            rows: list[list[Cell]] = filled[0].to_python(skip_empty_area=False) if filled else []
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise _stop(path.name, f"cannot be read as a workbook ({type(error).__name__})") from None
    if len(filled) > 1:
        raise several_sheets(path.name, len(filled))
    while rows and not any(cell != "" for cell in rows[-1]):
        rows.pop()
    if has_negative_numbers and any(isinstance(cell, time) for row in rows for cell in row):
        _refuse_negative_times(path)
    return rows


def text_columns(rows: Sequence[Sequence[Cell]], name: str) -> list[Sequence[str]]:
    """Return the columns of a sheet as text: dates in ISO form, whole numbers without `.0`, line breaks as CR.

    A column in which one cell has a time of the day beside its day holds timestamps: those at midnight get theirs too.
    In a column with times alone, the first days of Excel's calendars are times of more than 24 hours.

    Raises:
        ExportStop: a cell was cut or rounded by Excel; names its row.
    """
    columns: list[Sequence[str]] = []
    for cells in zip(*rows, strict=True):
        if set(map(type, cells)) == {str}:  # much faster than asking each cell
            columns.append(_texts([str(cell) for cell in cells], name))
        else:
            shown = _with_durations(cells)
            has_times = any(isinstance(cell, datetime) for cell in shown)
            texts = [_text(cell, name, line, has_times=has_times) for line, cell in enumerate(shown, start=1)]
            columns.append(_texts(texts, name))
    return columns


def _with_durations(cells: Sequence[Cell]) -> Sequence[Cell]:
    """Return a column with the times of a day and more as such: with the format `h:mm:ss` they look like a day."""
    days = [cell for cell in cells if isinstance(cell, date)]
    if not days or not any(isinstance(cell, time) for cell in cells):
        return cells
    for day_0 in _DAYS_0:
        if all(timedelta(0) < _elapsed(day, day_0) <= _LONGEST_DURATION for day in days):
            return [_elapsed(cell, day_0) if isinstance(cell, date) else cell for cell in cells]
    return cells


def _elapsed(day: date, day_0: datetime) -> timedelta:
    return (day if isinstance(day, datetime) else datetime.combine(day, time.min)) - day_0


def _texts(column: list[str], name: str) -> list[str]:
    longest = max(map(len, column))
    if longest >= _LONGEST_TEXT:
        line = 1 + next(at for at, text in enumerate(column) if len(text) == longest)
        raise _stop(name, f"has a text in row {line:,} that is as long as a cell may be, so Excel cut it")
    joined = "".join(column)
    if "\n" in joined or "\v" in joined:
        return [_BREAK.sub("\r", text) for text in column]
    return column


def _text(cell: Cell, name: str, line: int, *, has_times: bool) -> str:
    if isinstance(cell, int | float):  # also a bool
        if abs(cell) >= _FIRST_INEXACT:
            raise _stop(name, f"has a number in row {line:,} with more digits than Excel keeps")
        return str(int(cell)) if cell == int(cell) else repr(cell)
    if isinstance(cell, datetime):
        # Excel keeps a fraction of a day, from which a second comes back a little too early.
        return (cell + _HALF_A_SECOND).isoformat(timespec="seconds")
    if isinstance(cell, date):
        return f"{cell.isoformat()}T00:00:00" if has_times else cell.isoformat()
    if isinstance(cell, timedelta):
        elapsed = round(cell.total_seconds())
        minutes, seconds = divmod(abs(elapsed), 60)
        return f"{'-' if elapsed < 0 else ''}{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
    if isinstance(cell, time):
        at = datetime.combine(date.min, cell) + _HALF_A_SECOND
        return at.time().isoformat(timespec="seconds") if at.day == 1 else "24:00:00"
    return str(cell)


def refuse_unfit(file: Path | BinaryIO, name: str, *, formulas: bool = False) -> bool:
    """Unpack everything once, piece by piece: what a ZIP says of its sizes need not be true.

    Args:
        name: of the file, for the error.
        formulas: whether they are accepted.

    Returns:
        Whether a sheet has negative numbers, which may be times.

    Raises:
        ExportStop: the file is no workbook, or has what no export has, or reading it would take too much memory.
    """
    left, has_negative_numbers = LARGEST, False
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                tail, last_row, last_column = b"", 0, 0
                is_sheet = member.filename.startswith("xl/worksheets/")
                with archive.open(member) as part:
                    while chunk := part.read(_CHUNK):
                        left -= len(chunk)
                        if not tail and chunk.startswith(_WIDE):  # what is looked for below would be passed over
                            raise _stop(name, "has a part in UTF-16, which no program writes into a workbook")
                        if left < 0:
                            raise _stop(name, f"is larger than {LARGEST >> 20} MB when it is unpacked")
                        xml, tail = tail + chunk, chunk[-_LONGEST_TAG:]
                        if not is_sheet:
                            continue
                        if added := _added_by_hand(xml, formulas=formulas):
                            raise _stop(name, f"has {added}, and FileMaker exports none")
                        has_negative_numbers |= _NEGATIVE.search(xml) is not None
                        places = _PLACE.findall(xml)
                        last_row = max(last_row, *map(int, {row for _, row in places}), 0)
                        last_column = max(last_column, *map(_number_of, {column for column, _ in places}), 0)
                        if last_row * last_column > MOST_CELLS:
                            raise _stop(name, f"has cells as far as row {last_row:,} and column {last_column:,}")
    except ExportStop:
        raise
    except Exception as error:  # noqa: BLE001  # a broken ZIP can be broken in many ways
        raise _stop(name, f"cannot be read as a workbook ({type(error).__name__})") from None
    return has_negative_numbers


def _added_by_hand(xml: bytes, *, formulas: bool) -> str:
    """Return what a part of a sheet has that no export has: a formula or its error, or merged cells.

    The plain searches come first, because they are fast.
    """
    has_formula = (b"<f" in xml or b":f" in xml) and _FORMULA.search(xml)
    has_error = (b'"e"' in xml or b"'e'" in xml) and _ERROR.search(xml)
    if not formulas and (has_formula or has_error):
        return "formulas"
    return "merged cells" if b"mergeCell" in xml and _MERGED.search(xml) else ""


def _number_of(column: bytes) -> int:
    """Return the number of a column: 1 of A, 16,384 of XFD. The last row counts even where it has no column."""
    number = 0
    for letter in column.upper():
        number = number * 26 + letter - ord("@")
    return max(number, 1)


def _refuse_negative_times(path: Path) -> None:
    """Look for moments before the first day of the workbook. openpyxl shows them, but is slow: only if need be."""
    import openpyxl  # noqa: PLC0415  # slow to import

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions
            book = openpyxl.load_workbook(path, read_only=True)
            try:
                for sheet in book.worksheets:
                    sheet.reset_dimensions()  # they may be wrong
                    for line, row in enumerate(sheet.iter_rows(values_only=True), start=1):
                        if any(isinstance(cell, datetime) and cell < book.epoch for cell in row):
                            raise _stop(path.name, f"has a negative time in row {line:,}, which would become another")
            finally:
                book.close()
    except ExportStop:
        raise
    except Exception as error:  # noqa: BLE001  # a workbook can be broken in many ways
        raise _stop(path.name, f"cannot be read as a workbook ({type(error).__name__})") from None


def several_sheets(name: str, count: int) -> ExportStop:
    """Return the error for a workbook in which records may stand on each of several sheets."""
    return _stop(name, f"has {count} sheets with cells, and FileMaker exports one")


def _stop(name: str, what: str) -> ExportStop:
    return ExportStop(f"The export file {name} {what}.", meaning="Nothing was read from it.", remedy=_REMEDY)
