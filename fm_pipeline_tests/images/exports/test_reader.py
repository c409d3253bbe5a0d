"""FileMaker's export of image records, in every form it comes in."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.errors import ImageStop
from fm_pipeline.filemaker.exports import workbook
from fm_pipeline.images.exports.columns import POSITIONS, meaning_of
from fm_pipeline.images.exports.reader import Export, read_export, write_csv
from fm_pipeline.images.exports.records import SCHEMA
from fm_pipeline.images.exports.text import text_columns
from fm_pipeline.images.exports.workbook import cell

PATIENT = "43669346-9656-4029-A607-E4E8E4386F9E"
IMAGE = "D9F0C0E4-0C1B-4E0B-9C3A-7C1C5B6B8A11"
HEADER = "recid,id_Contact,date,Type,Note\n"
ROWS = [
    ["10/18/2016", "a.jpg", IMAGE, PATIENT, "Foot", "1", "2", "Left Dorsal"],
    ["10/18/2016", "b.jpg", "", PATIENT, "Foot", "1", "3", "Left Medial"],
]
EXPECTED_CSV = f"{HEADER}2,{PATIENT},10/18/2016,Left Dorsal,\n3,{PATIENT},10/18/2016,Left Medial,\n"


def tab(rows: list[list[str]], end: str = "\r") -> str:
    """A tab-separated file."""
    return "".join("\t".join(row) + end for row in rows)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Export]:
    """Write bytes or text to a file of that name and read it."""

    def read(content: str | bytes, name: str = "Image_DataV6.tab", **options: object) -> Export:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_export(path, **options)  # type: ignore[arg-type]

    return read


def as_csv(export: Export, folder: Path) -> str:
    """What becomes of it."""
    write_csv(folder / "out.csv", export)
    return (folder / "out.csv").read_bytes().decode()


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_an_export_becomes_the_expected_csv_byte_for_byte(
    read: Callable[..., Export], tmp_path: Path, end: str
) -> None:
    assert as_csv(read(tab(ROWS, end)), tmp_path) == EXPECTED_CSV


def test_line_ends_may_be_mixed_and_lines_blank(read: Callable[..., Export], tmp_path: Path) -> None:
    export = read(tab(ROWS[:1], "\r\n") + "\r\n" + tab(ROWS[1:], "\r") + "\n\n")
    assert as_csv(export, tmp_path) == EXPECTED_CSV


def test_a_line_feed_inside_a_field_of_a_file_with_cr_stays_there(read: Callable[..., Export]) -> None:
    rows = [[*row[:-1], f"{row[-1]}\nsecond line"] for row in ROWS]
    assert [record.category for record in read(tab(rows))] == ["Left Dorsal\nsecond line", "Left Medial\nsecond line"]


@pytest.mark.parametrize(
    ("codec", "mark", "shown"),
    [
        ("utf-8", b"", "utf-8"),
        ("utf-8-sig", b"", "utf-8"),
        ("utf-16-le", b"\xff\xfe", "utf-16-le"),
        ("utf-16-be", b"\xfe\xff", "utf-16-be"),
        ("utf-16-le", b"", "utf-16-le"),
        ("utf-16-be", b"", "utf-16-be"),
        ("cp1252", b"", "windows-1252"),
        ("mac_roman", b"", "macroman"),
    ],
)
@pytest.mark.parametrize("header", [True, False])
def test_the_encoding_is_found_out(
    read: Callable[..., Export], codec: str, mark: bytes, shown: str, header: bool
) -> None:
    rows = [*ROWS, [*ROWS[0][:6], "4", "André’s pied – l’été à Zürich"], [*ROWS[0][:6], "5", "Füße"]]
    text = tab([list(POSITIONS), *rows] if header else rows)
    export = read(mark + text.encode(codec))
    assert export.encoding == shown
    assert [record.category for record in export][-2:] == ["André’s pied – l’été à Zürich", "Füße"]
    assert next(iter(export)).date == "10/18/2016"  # a mark would have gone into it


def test_an_encoding_can_be_forced_and_a_wrong_one_is_refused(read: Callable[..., Export]) -> None:
    data = tab([[*ROWS[0][:7], "é"]]).encode("cp1252")
    assert next(iter(read(data, encoding="macroman"))).category == "È"
    with pytest.raises(ImageStop, match="not text in utf-8: byte"):
        read(data, encoding="utf-8")


@pytest.mark.parametrize(
    "names",
    [
        ["date", "fileNane", "id", "id_Key", "Name of file", "NexusExportDate", "recid", "Type"],
        ["Date", "fileName", "ID", "id.key", "Name_of_file", "nexusexportdate", "RecID", "type"],
        ["Images::date", "Images::fileName", "Images::id", "Contacts::id_Contact", "x", "y", "rec id", "Images::Type"],
    ],
)
def test_columns_are_known_by_all_spellings(read: Callable[..., Export], tmp_path: Path, names: list[str]) -> None:
    assert as_csv(read(tab([names, *ROWS])), tmp_path) == EXPECTED_CSV


def test_any_order_of_columns_will_do_with_a_header_or_names_that_are_given(read: Callable[..., Export]) -> None:
    names, row = ["Note", "Type", "recid", "id_Contact", "date"], ["n", "Gait", "7", PATIENT, "1/2/2020"]
    for export in (read(tab([names, row])), read(tab([row]), columns=names)):
        (record,) = export
        assert (record.recid, record.patient, record.date, record.category, record.note) == (
            7, PATIENT, "1/2/2020", "Gait", "n",
        )  # fmt: skip


def test_of_two_columns_for_the_patient_the_filled_one_counts(read: Callable[..., Export]) -> None:
    names = ["recid", "id_Contact", "id_Key", "date"]
    rows = [["7", "", PATIENT, "1/2/2020"], ["8", "another", "no patient", "1/2/2020"]]
    assert [record.patient for record in read(tab([names, *rows]))] == [PATIENT, "another"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\r\r\n", "is empty"),
        (tab([["1", "2", "3"]]).encode(), "no header and 3 columns"),
        (tab([["recid", "date"], ["1", "2"]]).encode(), "no column id_Contact"),
        (tab([["recid", "date", "Date", "id_Contact"], ["1"] * 4]).encode(), "mean the same: 3 and 2"),
        (tab([["a"] * 8]).encode(), "None of the 1 records"),
        (tab(ROWS).encode()[:-40], "record of the export, in line 2, is cut"),
        (tab(ROWS).encode()[:-4], "record of the export, in line 2, has no line end"),
    ],
)
@pytest.mark.hard_case(2)
def test_what_is_no_whole_export_stops(read: Callable[..., Export], content: bytes, words: str) -> None:
    with pytest.raises(ImageStop, match=words):
        read(content)


@pytest.mark.hard_case(2)
@pytest.mark.parametrize("name", ["x.tab", "x.csv"])
def test_images_in_a_block_that_was_lost_are_not_left_out_in_silence(read: Callable[..., Export], name: str) -> None:
    end = "\t" if name == "x.tab" else ","
    rows = [[*ROWS[0][:6], str(number), "Left"] for number in range(1, 400)]
    text = "".join(end.join(row) + "\r" for row in rows)
    first, second = (text.index(f"{end}1{end}{number}{end}") for number in (200, 208))
    with pytest.raises(ImageStop, match="The export has a run of NUL characters in line 200"):
        read(text[:first] + "\0" * 512 + text[second:], name)


@pytest.mark.hard_case(2)
def test_an_export_that_ends_behind_a_quote_and_with_a_block_was_cut(read: Callable[..., Export]) -> None:
    text = HEADER + f'"2","{PATIENT}","10/18/2016","Left","'
    for more in (-1, 0, 1):
        content = text + "x" * (1023 - len(text) + more) + '"'
        if len(content) == 1024:
            with pytest.raises(ImageStop, match="last record of the export, in line 2, has no line end"):
                read(content, "x.csv")
        else:
            assert len(read(content, "x.csv")) == 1
    assert len(read(text + "x" * (1022 - len(text)) + '"\r', "x.csv")) == 1


def test_every_record_ends_as_a_record_a_repeated_one_or_a_reject(read: Callable[..., Export]) -> None:
    def row(recid: str, patient: str = PATIENT, category: str = "Gait", date: str = "1/2/2020") -> list[str]:
        return [date, "f", "", patient, "n", "1", recid, category]

    export = read(
        tab(
            [
                row("2"),
                row("2", PATIENT.lower()),  # the same record once more
                row("0002"),
                ["", "", "", "", "related row", "", "", ""],
                row(""),
                row("x"),
                row("-3"),
                row("1.5"),
                row("9" * 30),
                row("0"),
                row("4")[:5],
                row("5", "a\x1db"),
                row("6", category="x\0y"),
                row("7", category="one\vtwo\x1dthree"),
                row("8"),
                row("8", "somebody else"),  # one record for two patients
                [""] * 8,
                row("9"),
            ]
        )
    )
    assert [(record.line, record.recid) for record in export] == [(1, 2), (14, 7), (18, 9)]
    assert [record.category for record in export][1] == "one\ntwo\x1dthree"
    assert [tuple(reject) for reject in export.rejects] == [
        (5, "recid_missing"),
        (6, "recid_invalid"),
        (7, "recid_invalid"),
        (8, "recid_invalid"),
        (9, "recid_invalid"),
        (10, "recid_invalid"),
        (11, "field_count"),
        (12, "repetition_in_key"),
        (13, "nul_character"),
        (15, "recid_contradicts"),
        (16, "recid_contradicts"),
        (17, "empty_record"),
    ]
    assert (export.repeated, export.additional) == (2, 1)
    assert export.findings == {"repetition_in_field": 1}
    assert export.found == 3 + 12 + 2


def test_comma_separated_and_merge_files(read: Callable[..., Export], tmp_path: Path) -> None:
    quoted = "".join(",".join(f'"{cell}"' for cell in row) + "\r" for row in ROWS)
    assert as_csv(read(quoted, "x.csv"), tmp_path) == EXPECTED_CSV
    unquoted_numbers = quoted.replace('"2"', "2").replace('"3"', "3").replace('""', "")  # FileMaker 16 and before
    assert as_csv(read(unquoted_numbers, "x.csv"), tmp_path) == EXPECTED_CSV
    for separator in ",;\t":
        header = separator.join(POSITIONS) + "\r"
        merged = header + "".join(separator.join(f'"{cell}"' for cell in row) + "\r" for row in ROWS)
        assert as_csv(read(merged, "x.mer"), tmp_path) == EXPECTED_CSV
    assert as_csv(read(tab(ROWS), "tabs.csv"), tmp_path) == EXPECTED_CSV
    assert as_csv(read(EXPECTED_CSV, "again.csv"), tmp_path) == EXPECTED_CSV


def test_quotes_and_line_breaks_survive_the_way_through_csv(read: Callable[..., Export], tmp_path: Path) -> None:
    row = f'recid,id_Contact,date,Type,Note\r2,{PATIENT},10/18/2016,"He said ""left"", twice","a\vb"\r'
    (record,) = read(row, "x.csv")
    assert (record.category, record.note) == ('He said "left", twice', "a\nb")
    text = as_csv(read(row, "x.csv"), tmp_path)
    assert list(csv.reader(io.StringIO(text)))[1][3:] == ['He said "left", twice', "a\nb"]
    (again,) = read(text, "again.csv")
    assert again == record


def test_a_quote_without_its_end_stops_and_swallows_nothing(read: Callable[..., Export]) -> None:
    text = f'{HEADER}2,{PATIENT},10/18/2016,"Left,\n3,{PATIENT},10/18/2016,Right,\n'
    with pytest.raises(ImageStop, match="last record of the export, in line 3, is cut"):
        read(text, "x.csv")


def test_a_workbook_has_dates_of_excel_and_numbers_with_a_point(read: Callable[..., Export], tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(POSITIONS))
    for row in ROWS:
        sheet.append([dt.datetime(2016, 10, 18), *row[1:6], float(row[6]), row[7]])  # noqa: DTZ001
    book.save(tmp_path / "Image_Data.xlsx")
    export = read_export(tmp_path / "Image_Data.xlsx")
    assert export.format == "xlsx"
    assert cell("a_x000D__x000b_b_x005F_x000D_") == "a\r\vb_x000D_"  # how a workbook writes what XML cannot hold
    assert as_csv(export, tmp_path) == EXPECTED_CSV
    with pytest.raises(ImageStop, match="cannot be read as a workbook"):
        read(b"PK\x03\x04 and no more", "x.xlsx")


def test_records_on_a_second_sheet_stop_and_an_empty_first_one_is_passed_over(tmp_path: Path) -> None:
    path, book = tmp_path / "Image_Data.xlsx", openpyxl.Workbook()
    for number, row in enumerate(ROWS[:2], start=1):
        sheet = book.create_sheet()
        sheet.append(list(POSITIONS))
        sheet.append(list(row))
        book.save(path)
        if number == 1:
            assert len(read_export(path)) == 1
    with pytest.raises(ImageStop, match="has 2 sheets with cells"):
        read_export(path)


def test_merged_cells_stop_because_the_others_would_count_as_empty(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (POSITIONS, *ROWS):
        sheet.append(list(row))
    sheet.merge_cells("A2:A3")
    book.save(tmp_path / "Image_Data.xlsx")
    with pytest.raises(ImageStop, match="has merged cells"):
        read_export(tmp_path / "Image_Data.xlsx")


def test_a_stray_cell_far_from_the_records_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MOST_CELLS", 2_000)
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(POSITIONS))
    sheet["AB100"] = "x"
    book.save(tmp_path / "Image_Data.xlsx")
    with pytest.raises(ImageStop, match="has cells as far as row 100 and column 28"):
        read_export(tmp_path / "Image_Data.xlsx")


def test_no_text_is_taken_for_a_number_a_date_or_a_missing_value(read: Callable[..., Export], tmp_path: Path) -> None:
    texts = ["007", "1e3", "NA", "null", "True", "2020-01-02", "nan", "#N/A"]
    rows = [["01/02/2020", "", "", "0012", "", "1", str(number), text] for number, text in enumerate(texts, start=2)]
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in [list(POSITIONS), *rows]:
        sheet.append(row)
    book.save(tmp_path / "x.xlsx")
    for export in (read(tab(rows)), read_export(tmp_path / "x.xlsx")):
        assert dict(export.records.dtypes) == SCHEMA
        assert [record.category for record in export] == texts
        assert {(record.patient, record.date) for record in export} == {("0012", "01/02/2020")}


def test_the_csv_is_for_its_owner_only(read: Callable[..., Export], tmp_path: Path) -> None:
    as_csv(read(tab(ROWS)), tmp_path)
    assert (tmp_path / "out.csv").stat().st_mode & 0o077 == 0


def test_a_name_without_meaning_has_none() -> None:
    assert meaning_of("Clinician") is None


CELL = st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), min_size=1, max_size=5)


@given(st.integers(2, 5).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1)),
       st.sampled_from(["\r", "\n", "\r\n"]))  # fmt: skip
def test_no_character_but_tab_and_line_ends_cuts_anything(rows: list[list[str]], end: str) -> None:
    read = text_columns(tab(rows, end), "tab")
    assert list(zip(*read.columns, strict=True)) == [tuple(cell.replace("\v", "\r") for cell in row) for row in rows]
    assert list(read.numbers) == list(range(1, len(rows) + 1))


@given(st.binary(max_size=200), st.sampled_from(["x.tab", "x.csv", "x.mer"]))
def test_no_bytes_raise_anything_but_a_stop(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    with contextlib.suppress(ImageStop):
        read_export(path)
