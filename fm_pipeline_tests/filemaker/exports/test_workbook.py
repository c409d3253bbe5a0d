"""Times in an export that is a workbook: Excel counts them in days, and FileMaker's may be negative."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from openpyxl.utils.datetime import MAC_EPOCH

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline_tests.filemaker.exports.files import values


def workbook(folder: Path, *rows: tuple[str, float, float], kind: str = "h:mm:ss") -> Path:
    """Write the rows, of which the last cell is a time in days, into a workbook that counts from 1904."""
    book = openpyxl.Workbook()
    book.epoch = MAC_EPOCH
    sheet = book.active
    assert sheet is not None
    for row in (("id", "day", "note"), *rows):
        sheet.append(list(row))
        sheet.cell(sheet.max_row, 3).number_format = kind
    book.save(folder / "Notes.xlsx")
    return folder / "Notes.xlsx"


def test_a_negative_time_is_never_taken_for_a_time_of_the_day(tmp_path: Path) -> None:
    with pytest.raises(ExportStop, match="negative time in row 3"):
        values(workbook(tmp_path, ("a", 1, 0.75), ("b", 1, -0.25)))


def test_a_negative_number_beside_times_is_read(tmp_path: Path) -> None:
    assert values(workbook(tmp_path, ("a", -4, 0.75))) == [["a", "-4", "18:00:00"]]


def test_a_negative_duration_keeps_its_sign(tmp_path: Path) -> None:
    path = workbook(tmp_path, ("a", 1, -0.25), ("b", 1, -1.28125), ("c", 1, 1.25), kind="[h]:mm:ss")
    assert [row[2] for row in values(path)] == ["-06:00:00", "-30:45:00", "30:00:00"]


def test_a_time_of_a_day_and_more_is_no_date_in_a_workbook_that_counts_from_1904(tmp_path: Path) -> None:
    path = workbook(tmp_path, ("a", 1, 0.75), ("b", 1, 1.25), ("c", 1, 1))
    assert [row[2] for row in values(path)] == ["18:00:00", "30:00:00", "24:00:00"]


def test_a_time_of_a_day_and_more_is_no_date(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (("id", "day", "note"), ("a", 42_646, 0.75), ("b", 1, 1), ("c", 60, 1.3958333333333333)):
        sheet.append(list(row))
        sheet.cell(sheet.max_row, 2).number_format = "mm/dd/yyyy"
        sheet.cell(sheet.max_row, 3).number_format = "h:mm:ss"
    book.save(tmp_path / "Notes.xlsx")
    read = values(tmp_path / "Notes.xlsx")
    assert [row[2] for row in read] == ["18:00:00", "24:00:00", "33:30:00"]
    assert [row[1] for row in read][:2] == ["2016-10-03", "1900-01-01"]
