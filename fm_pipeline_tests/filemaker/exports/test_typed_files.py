"""XML and Excel workbooks, whose values have types."""

from __future__ import annotations

import datetime as dt
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from fm_pipeline.filemaker.exports import workbook
from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.options import ExportOptions
from fm_pipeline.filemaker.exports.source_file import BLOCK
from fm_pipeline.filemaker.exports.table import ExportTable
from fm_pipeline_tests.filemaker.exports.files import OPTIONS, records, values, written

ANY = ExportOptions()


def xml(
    fields: str,
    rows: str,
    *,
    found: int | None = None,
    in_table: int | None = None,
    dates: str = "D.m.yyyy",
    end: str = "</RESULTSET>",
) -> str:
    """FMPXMLRESULT; `fields` is `name:TYPE` or `name:TYPE:repetitions`, separated by blanks."""
    described = (re.findall(r"(.+):([A-Z]+):?(\d*)", field)[0] for field in fields.split())
    metadata = "".join(
        f'<FIELD EMPTYOK="YES" MAXREPEAT="{times or 1}" NAME="{name}" TYPE="{kind}"/>'
        for name, kind, times in described
    )
    number = rows.count("<ROW") if found is None else found
    size = number if in_table is None else in_table
    return (
        '<?xml version="1.0" encoding="UTF-8" ?><FMPXMLRESULT xmlns="http://www.filemaker.com/fmpxmlresult">'
        f'<ERRORCODE>0</ERRORCODE><DATABASE DATEFORMAT="{dates}" NAME="x" RECORDS="{size}" TIMEFORMAT="h:mm:ss a"/>'
        f'<METADATA>{metadata}</METADATA><RESULTSET FOUND="{number}">{rows}{end}</FMPXMLRESULT>'
    )


def row(number: int, *columns: str, edits: int = 0) -> str:
    """A row; the values of a column are separated by `|`."""
    cells = ("".join(f"<DATA>{value}</DATA>" for value in column.split("|")) for column in columns)
    return f'<ROW MODID="{edits}" RECORDID="{number}">' + "".join(f"<COL>{cell}</COL>" for cell in cells) + "</ROW>"


def book(path: Path, *rows: list[Any], sheets: int = 1) -> Path:
    """Write a workbook; every sheet has the rows."""
    made = openpyxl.Workbook()
    for number in range(sheets):
        sheet = made.active if number == 0 else made.create_sheet()
        assert sheet is not None
        for each in rows:
            sheet.append(each)
    made.save(path)
    return path


def test_xml_of_a_found_set_is_not_taken_for_the_table_unless_the_profile_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, xml("name:TEXT size:NUMBER", row(7, "a", "1"), in_table=985), "Notes.xml")
    with pytest.raises(ExportStop, match="has 1 of the 985 records of its table") as stopped:
        ExportTable(path, ANY)
    assert "found_set: true" in stopped.value.remedy
    assert [record.record_id for record in records(path, replace(ANY, found_set=True))] == [7]


@pytest.mark.parametrize("found", ["", 'FOUND=""', 'FOUND="1,000"'])
def test_xml_that_does_not_say_how_many_records_it_has_stops(tmp_path: Path, found: str) -> None:
    whole = xml("name:TEXT", row(7, "a"), in_table=985)
    path = written(tmp_path, whole.replace('FOUND="1"', found), "Notes.xml")
    with pytest.raises(ExportStop, match="does not say how many records it has"):
        records(path, ANY)


def test_xml_has_types_record_ids_edits_and_repetitions(tmp_path: Path) -> None:
    fields = "name:TEXT size:NUMBER born:DATE seen:TIMESTAMP at:TIME phone:TEXT:3 other:TEXT"
    text = xml(
        fields,
        row(17, "a\n&amp;b", "12", "3.12.2016", "18.10.2016 2:05:00 PM", "9:05:00 AM", "1||3", "x|y", edits=4)
        + row(9, "", "12 kg", "", "?", "30:00:00", "", "")
        + row(3, "", "", "", "", "", "", ""),
    )
    path = written(tmp_path, text, "Notes.xml")
    table = ExportTable(path, ANY)
    assert [(field.name, field.result, len(field.repetitions)) for field in table.fields] == [
        ("name", "text", 1), ("size", "number", 1), ("born", "date", 1), ("seen", "timeStamp", 1), ("at", "time", 1),
        ("phone", "text", 3), ("other", "text", 1),
    ]  # fmt: skip
    first, second, third = records(path, ANY)
    assert (first.record_id, first.mod_id, second.record_id) == (17, 4, 9)
    assert first.fields == {
        "name": "a\r&b", "size": 12, "born": "2016-12-03", "seen": "2016-10-18T14:05:00", "at": "09:05:00",
        "phone(1)": "1", "phone(2)": "", "phone(3)": "3", "other": "x\x1dy",
    }  # fmt: skip
    assert (second.fields["size"], second.fields["seen"], second.fields["at"]) == ("12 kg", "?", "30:00:00")
    assert set(third.fields.values()) == {""}


def test_xml_has_the_first_of_several_related_records_also_where_its_field_is_empty(tmp_path: Path) -> None:
    # As FileMaker Pro 12 writes them: a value for each related record, an empty one too, and none without records.
    fields = "id:NUMBER Doctors::number:NUMBER Doctors::town:TEXT Doctors::since:DATE Doctors::phone:TEXT:2"
    rows = (
        row(1, "7", "466|122", "|Perth", "|3.12.2016", "a|b|c|d")
        + "<ROW MODID='0' RECORDID='2'><COL><DATA>8</DATA></COL>" + "<COL/>" * 4 + "</ROW>"
        + row(3, "", "5", "Hobart", "", "")
    )  # fmt: skip
    path = written(tmp_path, xml(fields, rows), "Notes.xml")
    assert values(path, ANY) == [
        [7, 466, "", "", "a", "b"], [8, "", "", "", "", ""], ["", 5, "Hobart", "", "", ""],
    ]  # fmt: skip


def test_a_number_in_xml_does_not_depend_on_the_records_around_it(tmp_path: Path) -> None:
    rows = row(1, "7|8") + row(2, "07") + row(3, "|9") + row(4, "")
    assert values(written(tmp_path, xml("a:NUMBER", rows), "Notes.xml"), ANY) == [["7\x1d8"], [7], [9], [""]]


def test_what_a_comma_in_a_number_means_is_named_and_never_guessed(tmp_path: Path) -> None:
    shown = ("1,5", "1,234", "1.234", "-1.234,50", "7", "3,4 kg", "1,5e+20")
    rows = "".join(row(n, text) for n, text in enumerate(shown, start=1))
    path = written(tmp_path, xml("a:NUMBER", rows), "Notes.xml")
    with pytest.raises(ExportStop, match=r"3 numbers of Notes.xml have a comma in front of the decimals") as stop:
        values(path, ANY)
    assert "`decimal: comma`" in stop.value.remedy
    assert values(path, replace(ANY, decimal="comma")) == [
        [1.5], [1.234], [1234], [-1234.5], [7], ["3,4 kg"], [1.5e20],
    ]  # fmt: skip
    assert values(path, replace(ANY, decimal="point")) == [
        ["1,5"], ["1,234"], [1.234], ["-1.234,50"], [7], ["3,4 kg"], ["1,5e+20"],
    ]  # fmt: skip
    thousands = written(tmp_path, xml("a:NUMBER", row(1, "1,234") + row(2, "1,234,567.5")), "Visits.xml")
    assert values(thousands, ANY) == [["1,234"], ["1,234,567.5"]]


def test_a_comma_in_a_file_without_types_is_looked_at_where_the_profile_reads_a_number(tmp_path: Path) -> None:
    path = written(tmp_path, '"1,5","1,5"\r"2","3"\r', "Notes.csv")
    said = replace(ANY, columns=("height", "text"), number_fields=frozenset({"height"}))
    with pytest.raises(ExportStop, match="1 number"):
        values(path, said)
    assert values(path, replace(said, decimal="comma")) == [["1.5", "1,5"], ["2", "3"]]


def test_a_number_in_a_cell_has_a_point_whatever_the_file_has(tmp_path: Path) -> None:
    path = book(tmp_path / "Notes.xlsx", ["height", "text"], [1.234, "a"])
    said = replace(ANY, columns=("height", "text"), number_fields=frozenset({"height"}), decimal="comma")
    assert values(path, said) == [["1.234", "a"]]


def test_times_in_text_fields_of_xml_are_read_but_not_dates_whose_order_may_be_another(tmp_path: Path) -> None:
    path = written(
        tmp_path, xml("day:TEXT at:TEXT", row(1, "3/12/2016", "9:05:00 p. m."), dates="D/m/yyyy"), "Notes.xml"
    )
    assert values(path, replace(OPTIONS, time_fields=frozenset({"at"}))) == [["3/12/2016", "21:05:00"]]


def test_dates_that_a_layout_formatted_are_not_read_in_the_order_of_the_computer(tmp_path: Path) -> None:
    text = xml("day:DATE", row(1, "3/12/2016") + row(2, "12/18/2016"), dates="D/m/yyyy")
    text = text.replace(' NAME="x"', ' LAYOUT="Visits" NAME="x"')
    assert values(written(tmp_path, text, "Notes.xml"), ANY) == [["2016-03-12"], ["2016-12-18"]]
    with pytest.raises(ExportStop, match="day first or month first cannot be told"):
        values(written(tmp_path, text.replace("12/18", "12/8"), "Notes.xml"), ANY)


def test_xml_of_a_web_server_is_read_with_its_document_type(tmp_path: Path) -> None:
    head = '?><!DOCTYPE FMPXMLRESULT PUBLIC "-//FMI//DTD FMPXMLRESULT//EN" "/fmi/xml/FMPXMLRESULT.dtd"><'
    text = xml("a:TEXT", row(4, "x&lt;")).replace("?><", head, 1)
    assert values(written(tmp_path, text, "Notes.xml"), ANY) == [["x<"]]
    with pytest.raises(ExportStop, match="cannot be read"):  # an unknown entity would be left out silently
        values(written(tmp_path, text.replace("&lt;", "&ouml;"), "Notes.xml"), ANY)
    with pytest.raises(ExportStop, match="says that FileMaker ended with error 401"):
        values(written(tmp_path, text.replace("CODE>0<", "CODE>401<"), "Notes.xml"), ANY)


def test_xml_that_a_style_sheet_made_without_record_ids_says_where_they_come_from(tmp_path: Path) -> None:
    path = written(tmp_path, xml("id:NUMBER", row(1, "7")).replace('RECORDID="1"', 'RECORDID=""'), "Notes.xml")
    with pytest.raises(ExportStop, match=r"in line 1 .* has no record id") as stopped:
        values(path, ANY)
    assert "without a style sheet" in stopped.value.remedy
    assert [record.record_id for record in records(path, replace(ANY, record_id=("id",)))] == [7]


def test_xml_of_another_grammar_stops_at_its_first_element(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fm_pipeline.filemaker.exports.xml.LONGEST", BLOCK)
    for grammar in ("FMPDSORESULT", "fmresultset", "FMSaveAsXML", "FMPReport"):
        with pytest.raises(ExportStop, match="another grammar than FMPXMLRESULT"):
            values(
                written(tmp_path, f'<?xml version="1.0"?><{grammar}>{" " * 2 * BLOCK}</{grammar}>', "Notes.xml"), ANY
            )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (xml("a:TEXT", row(1, "x"), found=2), "says that it has 2 records, and 1 are there"),
        (xml("a:TEXT", row(1, "x"), end=""), "The XML of the export file Notes.xml cannot be read, from line 1"),
        (xml("a:TEXT", row(1, "x"))[:-40], "cannot be read"),
        (xml("a:TEXT b:TEXT", row(1, "x")), "1 row of Notes.xml has more or fewer than 2 fields: line 1"),
        (xml("a:TEXT", row(1, "x") + row(1, "y")), "record id that was there before"),
        (xml("a:TEXT", "<ROW><COL><DATA>x</DATA></COL></ROW>"), "has no record id"),
        (xml("a:TEXT", row(1, "\x0b")), "has a control character in line 1, which no XML can hold"),
        (xml("a:TEXT", row(1, "&#11;")), "has a control character in line 1, which no XML can hold"),
        (xml("a:TEXT A:TEXT", row(1, "x", "y")), "Columns 1 and 2 of Notes.xml have the same name"),
        (xml("a:TEXT", row(1, "&b;")).replace("?><", '?><!DOCTYPE F [<!ENTITY b "c">]><', 1), "cannot be read"),
        (xml("a:DATE", row(1, "3.12.2016"), dates=""), "cannot be told"),
    ],
)  # fmt: skip
def test_xml_that_is_not_whole_stops(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ExportStop, match=words):
        values(written(tmp_path, text, "Notes.xml"), ANY)


def test_cells_keep_their_types(tmp_path: Path) -> None:
    moment = dt.datetime(2016, 10, 18, 9, 30, 7)  # noqa: DTZ001  # a workbook has no zones
    rows: list[list[Any]] = [
        ["id", "note", "day", "seen", "at", "long", "yes"],
        ["007", 7.0, dt.date(2016, 3, 12), moment, dt.time(9, 30, 1), dt.timedelta(hours=30), True],
        ["-1", 7.25, "3/12/1899", dt.datetime(2016, 3, 12), "", "a\nb\r\nc", "=no formula"],  # noqa: DTZ001
        [None] * 7,
        ["x", "", "10/18/1899", "", "", "", ""],
        [None] * 7,
    ]
    path = book(tmp_path / "Notes.xlsx", *rows[:2], *rows[3:])
    made = openpyxl.load_workbook(path)
    sheet = made.active
    assert sheet is not None
    sheet.insert_rows(3)
    for column, value in enumerate(rows[2], start=1):
        cell = sheet.cell(3, column, value)
        cell.data_type = "s" if isinstance(value, str) and value else cell.data_type
    made.save(path)
    assert values(path, OPTIONS) == [
        ["007", "7", "2016-03-12", "2016-10-18T09:30:07", "09:30:01", "30:00:00", "1"],
        ["-1", "7.25", "1899-03-12", "2016-03-12T00:00:00", "", "a\rb\rc", "=no formula"],
        [""] * 7,
        ["x", "", "1899-10-18", "", "", "", ""],
    ]


@pytest.mark.parametrize(
    ("cells", "sheets", "words"),
    [
        (["1", "x" * 32_767], 1, "row 2 that is as long as a cell may be"),
        (["1", 1234567890123456], 1, "number in row 2 with more digits than Excel keeps"),
        (["1", "=1/0"], 1, "has formulas"),
        (["1", "x"], 2, "has 2 sheets with cells"),
    ],
)
def test_what_excel_cut_rounded_or_calculated_stops(tmp_path: Path, cells: list[Any], sheets: int, words: str) -> None:
    with pytest.raises(ExportStop, match=words):
        values(book(tmp_path / "Notes.xlsx", ["id", "note"], cells, sheets=sheets), OPTIONS)


def test_merged_cells_stop_because_only_the_first_has_the_value(tmp_path: Path) -> None:
    path = book(tmp_path / "Notes.xlsx", ["id", "note"], ["1", "x"], ["2", ""])
    made = openpyxl.load_workbook(path)
    assert made.active is not None
    made.active.merge_cells("B2:B3")
    made.save(path)
    with pytest.raises(ExportStop, match=r"Notes.xlsx has merged cells"):
        values(path, OPTIONS)


def test_a_stray_cell_far_away_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MOST_CELLS", 2_000)
    made = openpyxl.Workbook()
    sheet = made.active
    assert sheet is not None
    sheet["A1"], sheet["B1"], sheet["AB100"] = "id", "note", "x"
    made.save(tmp_path / "Notes.xlsx")
    with pytest.raises(ExportStop, match="has cells as far as row 100 and column 28"):
        values(tmp_path / "Notes.xlsx", OPTIONS)


def test_a_sheet_in_which_stray_cells_would_be_passed_over_stops(tmp_path: Path) -> None:
    path = book(tmp_path / "other.xlsx", ["id", "note"], ["1", "x"])
    with zipfile.ZipFile(path) as read, zipfile.ZipFile(tmp_path / "Notes.xlsx", "w") as write:
        for name in read.namelist():
            data = read.read(name)
            write.writestr(name, data.decode().encode("utf-16") if "sheet1" in name else data)
    with pytest.raises(ExportStop, match="has a part in UTF-16"):
        values(tmp_path / "Notes.xlsx", OPTIONS)


def test_the_reading_that_excel_keeps_with_a_japanese_name_is_no_part_of_it(tmp_path: Path) -> None:
    path = book(tmp_path / "other.xlsx", ["id", "note"], ["1", "田中"])
    places = 0
    with zipfile.ZipFile(path) as read, zipfile.ZipFile(tmp_path / "Notes.xlsx", "w") as write:
        for name in read.namelist():
            text = read.read(name).decode()
            places += text.count("田中</t>")
            write.writestr(name, text.replace("田中</t>", '田中</t><rPh sb="0" eb="2"><t>タナカ</t></rPh>'))
    assert places == 1
    assert values(tmp_path / "Notes.xlsx", OPTIONS) == [["1", "田中"]]


def test_a_workbook_that_is_broken_or_too_large_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path / "Notes.xlsx", ["id", "note"], ["1", "x"])
    with pytest.raises(ExportStop, match="cannot be read as a workbook"):
        values(written(tmp_path, path.read_bytes()[:-100], "Notes.xlsx"), OPTIONS)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/other.xml", "x")
    with pytest.raises(ExportStop, match="cannot be read as a workbook"):
        values(path, OPTIONS)
    path = book(tmp_path / "Notes.xlsx", ["id", "note"], *([n, "x" * 1000] for n in range(100)))
    monkeypatch.setattr(workbook, "LARGEST", 50_000)
    with pytest.raises(ExportStop, match="is larger than"):
        values(path, OPTIONS)
