"""One export file as a table: what it holds, in the form of all doors, or why it is not read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fm_pipeline.filemaker.exports.encoding import ENCODINGS
from fm_pipeline.filemaker.exports.errors import CharacterSetUnknown, ExportChanged, ExportStop
from fm_pipeline.filemaker.exports.options import DateOrder
from fm_pipeline.filemaker.exports.source_file import BLOCK
from fm_pipeline.filemaker.exports.table import ExportTable
from fm_pipeline_tests.filemaker.exports.files import NAMED, OPTIONS, records, values, written


@pytest.mark.parametrize(
    "text",
    [
        "1\t\tx\r2\t\ty\r",
        "ID\tday\tNote\r1\t\tx\r2\t\ty\r",
        "Notes::id\tNotes::day\tNotes::note\r1\t\tx\r2\t\ty\r",
        "\r\n\ufeffid\tday\tnote\r\n1\t\tx\r\n2\t\ty\r\n".replace("\r\n\ufeff", "\ufeff\r\n"),
    ],
    ids=["without a header", "with a header", "with the name of the table", "a mark and an empty line"],
)
def test_columns_are_named_by_the_profile_or_by_a_header_with_the_same_names(tmp_path: Path, text: str) -> None:
    assert values(written(tmp_path, text)) == [["1", "", "x"], ["2", "", "y"]]


def test_a_header_counts_whatever_order_the_profile_names_the_columns_in(tmp_path: Path) -> None:
    # The first row would be a record, and each day the note of its record.
    assert [record.fields for record in records(written(tmp_path, "id\tNOTE\tday\r1\tx\t\r"))] == [
        {"id": "1", "NOTE": "x", "day": ""}
    ]


@pytest.mark.parametrize(
    ("text", "name", "columns", "words"),
    [
        ("1\t\tx\r", "Notes.tab", (), "is no header .* `columns` under `export`"),
        ("note\tid and more\tpatient\r", "Notes.tab", (), "is no header"),
        ("id\tid\tnote\rz\ty\tx\r", "Notes.tab", (), "is no header"),
        ("1\tx\r", "Notes.tab", NAMED.columns, "has not the 3 columns that the mapping profile names"),
        ("id\tnote\tpatient\tday\r1\tx\tp\t\r", "Notes.tab", (*NAMED.columns, "by"), "is a header with other names"),
        ('"id","ID","note"\r"1","2","3"\r', "Notes.mer", (), "Columns 1 and 2 of Notes.mer have the same name"),
        ("", "Notes.tab", NAMED.columns, "Notes.tab is empty"),
        ("\r\r", "Notes.csv", NAMED.columns, "Notes.csv is empty"),
        ("\x00\x01\x00\x00\x00\x02", "Notes.tab", (), "have one column"),
        ("%PDF-1.7", "Notes.tab", NAMED.columns, "a PDF document, which is not read"),
        ("ID;PFileMaker\rE\r", "Notes.tab", NAMED.columns, "a SYLK file, which is not read"),
        ("TABLE\r0,1\r", "Notes.tab", NAMED.columns, "a DIF file, which is not read"),
        ("\x03\x7c\x0b\x1d\x01\0\0\0\x41\0\x0b\0\0\0\0", "Notes.tab", NAMED.columns, "a dBASE file"),
    ],
)
def test_columns_without_names_stop(tmp_path: Path, text: str, name: str, columns: tuple[str, ...], words: str) -> None:
    with pytest.raises(ExportStop, match=words):
        values(written(tmp_path, text, name), replace(OPTIONS, columns=columns))


def test_a_record_is_never_taken_for_a_header_though_its_fields_hold_names_of_fields(tmp_path: Path) -> None:
    assert len(values(written(tmp_path, "7\tpatient\tnote\r8\t\t\r"))) == 2
    for first in ("7\tpatient\tnote\r", "id\t7\t8\r"):
        with pytest.raises(ExportStop, match="is no header"):
            values(written(tmp_path, f"{first}8\t\t\r"), OPTIONS)


@pytest.mark.parametrize(
    ("text", "name", "columns"),
    [
        ('"id","day","note"\r"1","","x"\r"id","day","note"\r"2","","y"\r', "Notes.mer", ()),
        ("ID , day,Note\r\n1,,x\r\nID , day,Note\r\n2,,y\r\n", "Notes.csv", ()),
        ("Notes of the clinic\t\t\rid\tday\tnote\r1\t\tx\r", "Notes.tab", NAMED.columns),
        ("Notes of the clinic\t\t\rday\tid\tnote\r\t1\tx\r", "Notes.tab", NAMED.columns),
        ("1\t\tx\r2\t\ty\rID\tDay\tNote\r3\t\tz\r", "Notes.tab", NAMED.columns),
    ],
    ids=["two files joined", "as the first row", "below a title", "below a title, in another order", "below records"],
)
def test_a_header_that_is_not_the_first_row_is_no_record(
    tmp_path: Path, text: str, name: str, columns: tuple[str, ...]
) -> None:
    path = written(tmp_path, text, name)
    with pytest.raises(ExportStop, match=rf"line \d of {name} is a header") as stopped:
        values(path, replace(OPTIONS, columns=columns))
    assert "title" in stopped.value.remedy


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (["3/12/2016", "18/10/2016"], ["2016-12-03", "2016-10-18"]),
        (["3/12/2016", "10/18/2016 2:05:00 PM"], ["2016-03-12", "2016-10-18T14:05:00"]),
        (["03.12.2016 09:30", "18. 10. 2016 00:00:00"], ["2016-12-03T09:30:00", "2016-10-18T00:00:00"]),
        (["2016. 3. 12.", "2016. 10. 18. 14:05:00"], ["2016-03-12", "2016-10-18T14:05:00"]),
        (["2016-03-12", "2016/3/12 24:00:00", "4/4/2016"], ["2016-03-12", "2016-03-12 24:00:00", "2016-04-04"]),
        (["?", "some words 10:05:00", "18-10-2016", "31/2/2016"],
         ["?", "some words 10:05:00", "2016-10-18", "31/2/2016"]),
        (["3/12/2016\x1d18/10/2016"], ["2016-12-03\x1d2016-10-18"]),
    ],
)  # fmt: skip
def test_one_date_proves_the_order_of_all(tmp_path: Path, days: list[str], expected: list[str]) -> None:
    path = written(tmp_path, "".join(f"{n}\t{day}\t3/12/2016\r" for n, day in enumerate(days)))
    assert [row[1:] for row in values(path)] == [[day, "3/12/2016"] for day in expected]


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        ("  9:05:00", "T09:05:00"),
        (" 9:05:00\u202fPM", "T21:05:00"),
        (" 9:05:00 p. m.", "T21:05:00"),
        ("T09:05", "T09:05:00"),
        (" 24:00:00", " 24:00:00"),
        (" 9:05:00.50 PM", "T21:05:00.5"),
        (" 9:05:00,5", "T09:05:00.5"),
        (" 21.05.00", "T21:05:00"),
        (" 9.05", "T09:05:00"),
        (" 9.05:00", " 9.05:00"),
        (" 1 day, 09:30:00", " 1 day, 09:30:00"),
        (" noon", " noon"),
        (" ", ""),
        ("\v", ""),
    ],
)
def test_no_date_keeps_the_order_of_the_file_whatever_follows_it(tmp_path: Path, behind: str, expected: str) -> None:
    # Staging reads month first.
    path = written(tmp_path, f"1\t3/12/2016{behind}\tx\r2\t 3/12/2016\tx\r3\t18/10/2016\tx\r")
    assert [row[1] for row in values(path)] == [f"2016-12-03{expected}", "2016-12-03", "2016-10-18"]


@pytest.mark.parametrize(
    ("days", "dates", "words"),
    [
        (["3/12/2016", "4/4/2016"], None, "cannot be told: no date has a day above the 12th.*`dates: dmy`"),
        ([" 3/12/2016", "4/4/2016 24:00:00"], None, "cannot be told: no date has a day above the 12th"),
        (["18/10/2016", "10/18/2016"], None, "contradict each other: 1 different ones must be day first, 1 month"),
        (["18/10/2016", "3/12/2016"], "mdy", "said to be month first"),
        (["3/12/2016"], "iso", "said to be year first"),
    ],
)
def test_dates_are_never_guessed(tmp_path: Path, days: list[str], dates: DateOrder | None, words: str) -> None:
    path = written(tmp_path, "".join(f"{n}\t{day}\tx\r" for n, day in enumerate(days)))
    with pytest.raises(ExportStop, match=words):
        values(path, replace(NAMED, dates=dates))


def test_a_named_order_is_used_where_the_file_proves_none(tmp_path: Path) -> None:
    path = written(tmp_path, "1\t3/12/2016\tx\r")
    assert [values(path, replace(NAMED, dates=order))[0][1] for order in ("dmy", "mdy")] == ["2016-12-03", "2016-03-12"]


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-16-le", "cp1252", "mac_roman"])
def test_a_character_set_is_told_by_the_bytes(tmp_path: Path, codec: str) -> None:
    text = "".join(f"{n}\t\tFüße, Größe, süß, Ärztin {n}\r" for n in range(40))
    assert values(written(tmp_path, text.encode(codec)))[39] == ["39", "", "Füße, Größe, süß, Ärztin 39"]


@pytest.mark.parametrize(("name", "codec"), [("Notes.tab", "utf-8"), ("Notes.mer", "utf-16"), ("Notes.csv", "cp1252")])
def test_a_file_in_which_a_block_was_lost_stops_though_each_row_has_all_its_fields(
    tmp_path: Path, name: str, codec: str
) -> None:
    end = "\t" if name == "Notes.tab" else ","
    rows = [end.join(("id", "day", "note")), *(end.join((f"{n}", "", f'"é and {n}"')) for n in range(9000))]
    text = "\r".join(rows) + "\r"
    first, second = text.index("d 7000"), text.index("d 7100")
    path = written(tmp_path, (text[:first] + "\0" * 512 + text[second:]).encode(codec), name)
    with pytest.raises(ExportStop, match=rf"{name} has a run of NUL characters in line 7,002"):
        values(path, OPTIONS)


@pytest.mark.parametrize(("name", "codec"), [("Notes.mer", "utf-8"), ("Notes.csv", "utf-16")])
def test_a_file_that_ends_behind_a_quote_and_with_a_block_was_cut(tmp_path: Path, name: str, codec: str) -> None:
    head, tail = '"id","day","note"\r"1","","', '"'
    width = len("xx".encode(codec)) - len("x".encode(codec))
    letters = (1024 - len((head + tail).encode(codec))) // width
    for more in (-1, 0, 1):
        text = "x" * (letters + more)
        path = written(tmp_path, (head + text + tail).encode(codec), name)
        if path.stat().st_size == 1024:
            with pytest.raises(ExportStop, match=rf"last record of {name}, in line 2, has no line end"):
                values(path, OPTIONS)
        else:
            assert values(path, OPTIONS) == [["1", "", text]]
    whole = written(tmp_path, (head + "x" * (letters - 1) + tail + "\r").encode(codec), name)
    assert len(values(whole, OPTIONS)) == 1


def test_a_byte_far_behind_that_does_not_fit_stops_with_its_line(tmp_path: Path) -> None:
    line = "1\t\tsüß and some more text to fill a line of the file\r"
    lines = (5 << 20) // len(line.encode())
    path = written(tmp_path, line.encode() * lines + b"1\t\ts\xfc\xdf\r")
    with pytest.raises(CharacterSetUnknown, match=f"is not text in utf-8: a byte in line {lines + 1:,} does not fit"):
        values(path)
    assert (
        len(
            values(
                written(tmp_path, b"1\t\tplain text with nothing beyond ASCII in it\r" * lines + b"1\t\ts\xfc\xdf\r")
            )
        )
        == lines + 1
    )
    assert "windows-1252" in ENCODINGS


def test_lines_with_related_fields_only_belong_to_the_record_before_them(tmp_path: Path) -> None:
    text = '"id","note","Phones::number"\r"1","x","11"\r"","","12"\r"","","13"\r"2","","21"\r"","",""\r'
    table = ExportTable(written(tmp_path, text, "Notes.mer"), OPTIONS)
    assert [list(record.fields.values()) for record in table.records(["id", "Phones::number"])] == [
        ["1", "11"], ["2", "21"], ["", ""],
    ]  # fmt: skip
    assert (table.counts.found, table.counts.records, table.counts.continued, table.counts.rejected) == (5, 3, 2, 0)
    table = ExportTable(table.path, replace(OPTIONS, record_id=("id",)))  # no record is without its id
    assert [record.record_id for record in table.records(["id"])] == [1, 2]
    assert (table.counts.found, table.counts.records, table.counts.continued) == (5, 2, 3)


def test_rows_of_another_width_stop_with_their_lines(tmp_path: Path) -> None:
    text = "1\t\tx\r2\ty\r3\t\tz\r" + "4\t\ta\tb\r" * 12
    with pytest.raises(ExportStop, match=r"13 rows of Notes.tab have more or fewer than 3 fields: line 2, 4, .*, 12 …"):
        values(written(tmp_path, text))
    with pytest.raises(ExportStop, match=r"1 row of Notes.csv has more or fewer than 3 fields: line 3"):
        values(written(tmp_path, '"1","","x\ry"\r"2","y"\r"3","","z"\r', "Notes.csv"))


def test_record_ids_come_from_a_named_column_or_count_the_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "07\t\tx\r\r300000000\t\ty\r")
    assert [record.record_id for record in records(path)] == [1, 2]
    assert [record.record_id for record in records(path, replace(NAMED, record_id=("rec", "ID")))] == [7, 300_000_000]
    for text, words in (
        ("1\t\tx\r1\t\ty\r", "line 2 .* was there before"),
        ("1\t\tx\r0\t\ty\r", "line 2 .* no record id"),
    ):
        with pytest.raises(ExportStop, match=words):
            records(written(tmp_path, text), replace(NAMED, record_id=("id",)))


def test_only_what_is_needed_is_taken(tmp_path: Path) -> None:
    table = ExportTable(written(tmp_path, "1\t\tx\r"), NAMED)
    assert [record.fields for record in table.records(["NOTE"])] == [{"note": "x"}]
    assert [record.fields for record in table.records([])] == [{}]


def test_a_file_that_changes_while_it_is_read_stops(tmp_path: Path) -> None:
    content = b"1\t\tsome text\r" * (3 * BLOCK // 13)

    def grow(path: Path) -> None:
        with path.open("ab") as file:
            file.write(b"2\t\tx\r")

    def rewrite(path: Path) -> None:  # same size, same time, other bytes: behind what was read already
        before = path.stat()
        with path.open("r+b") as file:
            file.write(b"9")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def replace_by_another(path: Path) -> None:
        (path.parent / "new").write_bytes(content)
        (path.parent / "new").replace(path)

    for change in (grow, rewrite, replace_by_another, Path.unlink):
        path = written(tmp_path, content)
        reading = ExportTable(path, NAMED).records(["id"])
        next(reading)
        change(path)
        with pytest.raises(ExportChanged, match="changed while it was read"):
            list(reading)
    table = ExportTable(written(tmp_path, content), NAMED)
    grow(table.path)
    with pytest.raises(ExportChanged, match="after its columns were read"):
        list(table.records(["id"]))


def test_a_record_without_end_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tab", "quoted"):
        monkeypatch.setattr(f"fm_pipeline.filemaker.exports.{module}.LONGEST", BLOCK)
    long = "x" * (32 * BLOCK)
    for text, name in ((f"1\t\tx\r2\t\t{long}\r", "Notes.tab"), (f'"1","","x"\r"2","","{long}"\r', "Notes.csv")):
        with pytest.raises(ExportStop, match=r"The record in line 2 of .* does not end within"):
            values(written(tmp_path, text, name))


def test_a_csv_whose_texts_have_more_tabs_than_the_row_has_commas_is_no_tab_separated_text(tmp_path: Path) -> None:
    path = written(tmp_path, '1,"2016-10-18","a\tb\tc\td"\r2,"2016-10-19","x"\r', "Notes.csv")
    assert values(path) == [["1", "2016-10-18", "a\tb\tc\td"], ["2", "2016-10-19", "x"]]
    path = written(tmp_path, '1\t2016-10-18\tsaid "a, b" and left\r', "Notes.csv")  # and the other way round
    assert values(path) == [["1", "2016-10-18", 'said "a, b" and left']]
