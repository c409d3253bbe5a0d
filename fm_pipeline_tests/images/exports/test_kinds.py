"""Exports as FileMaker Pro writes them in other countries and other formats, and files that are no export."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from fm_pipeline.errors import ImageStop
from fm_pipeline.filemaker.exports.encoding import ENCODINGS, decode
from fm_pipeline.images.exports.columns import POSITIONS
from fm_pipeline.images.exports.metadata_table import Dates, _day, date_order
from fm_pipeline.images.exports.reader import Export, read_export
from fm_pipeline_tests.images.exports.xml import xml

PATIENT = "43669346-9656-4029-A607-E4E8E4386F9E"
JAPANESE = ["左足の背側", "右足の裏側", "ｱｲｳ"]


def row(recid: int, category: str = "Left", date: str = "10/18/2016", name: str = "") -> list[str]:
    return [date, name or f"{recid}.jpg", "", PATIENT, "Foot", "1", str(recid), category]


def tab(*rows: list[str]) -> str:
    return "".join("\t".join(each) + "\r" for each in rows)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Export]:
    """Write a file of that name and read it."""

    def read(content: str | bytes, name: str = "export.tab", **options: object) -> Export:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_export(path, **options)  # type: ignore[arg-type]

    return read


@pytest.mark.parametrize(
    ("codec", "name", "texts"),
    [
        ("cp932", "shift-jis", JAPANESE),
        ("cp932", "shift-jis", ["left", "足", "gait"]),
        ("gb18030", "gb18030", ["左足背侧", "右足"]),
        ("gb18030", "gb18030", ["左足足底", "背面", "步态"]),
        ("big5", "big5", ["左足背側", "右足"]),
        ("euc_kr", "euc-kr", ["왼발", "오른발"]),
        ("cp1250", "windows-1250", ["Stopa łokieć", "Žena"]),
        ("cp1251", "windows-1251", ["Левая стопа", "Правая"]),
        ("mac_cyrillic", "mac-cyrillic", ["Левая стопа", "Правая"]),
        ("cp1253", "windows-1253", ["Αριστερό πόδι"]),
        ("cp437", "dos-437", ["Füße", "piéd"]),
        ("cp850", "dos-850", ["Füße", "piéd"]),
    ],
)
def test_a_character_set_that_cannot_be_told_stops_until_somebody_names_it(
    read: Callable[..., Export], codec: str, name: str, texts: list[str]
) -> None:
    data = tab(*(row(number, text) for number, text in enumerate(texts, start=2))).encode(codec)
    with pytest.raises(ImageStop, match=r"character set .* cannot be told.* --encoding .*shift-jis"):
        read(data)
    assert [record.category for record in read(data, encoding=name)] == texts


@pytest.mark.parametrize("text", ["10° ± 5", "5 × 3", "¼ and ¾", "20 µm", "§ 2", "½", "left – right", "it’s"])
def test_one_sign_of_windows_is_enough_to_tell(text: str) -> None:
    assert decode(f"a\t{text}\r".encode("cp1252")) == (f"a\t{text}\r", "windows-1252")


def test_every_encoding_that_can_be_named_is_known() -> None:
    assert {decode(b"a", encoding)[0] for encoding in ENCODINGS if not encoding.startswith("utf-16")} == {"a"}


@pytest.mark.parametrize("codec", ["cp1252", "mac_roman"])
@pytest.mark.parametrize(
    "text",
    [
        "Füße Größe Müller MÜLLER Österreich süß Ärztin", "été l’été cœur École à côté Noël ça «pied»",
        "niño según izquierdo José ¿Qué? ÁRBOL mañana música", "São João coração pé mão à esquerda JOÃO",
        "blå ÅSA Öberg fötter", "Sørensen højre fødder Ærø", "één coöp", "patient’s “left” – 20° don’t …",
        "fætur Ólafur",
    ],
)  # fmt: skip
def test_languages_of_western_europe_are_told_apart_on_both_systems(codec: str, text: str) -> None:
    read, shown = decode(f"a\t{text}\r".encode(codec))
    assert (read, shown) == (f"a\t{text}\r", {"cp1252": "windows-1252"}.get(codec, "macroman"))


def test_xml_is_read_with_its_own_record_ids_and_its_own_order_of_dates(read: Callable[..., Export]) -> None:
    names = ("Images::date", "Images::id_Contact", "Images::Type", "Note")
    text = xml([["18.1.2016", PATIENT, "Füße & <b>\x1dz", ""], ["1.2.2016", PATIENT, "", "x"]], names, dates="D.m.yyyy")
    export = read(text.replace('TYPE="TEXT"', 'TYPE="DATE"', 1), "x.xml")
    assert (export.format, export.findings) == ("xml", {"repetition_in_field": 1})
    assert [(each.recid, each.date, each.category, each.note) for each in export] == [
        (2, "1/18/2016", "Füße & <b>\x1dz", ""), (3, "2/1/2016", "", "x"),
    ]  # fmt: skip
    assert [each.recid for each in read("\ufeff" + xml([row(7), row(8)]), "x.tab")] == [7, 8]  # its own column counts
    for order, day in (("yyyy/MM/dd", "2016/10/18"), ("dd-MM-yyyy", "18-10-2016"), ("M/d/yyyy", "10/18/2016")):
        assert next(iter(read(xml([row(7, date=day)], dates=order)))).date == "10/18/2016"
    export = read(xml([row(7, date="3/12/2016")], dates="D/m/yyyy").replace('LAYOUT=""', 'LAYOUT="Images"'))
    assert (next(iter(export)).date, export.month_first) == ("3/12/2016", False)  # formatted by the layout


def test_a_format_that_always_has_names_is_never_read_by_position(read: Callable[..., Export]) -> None:
    others = [f"field {n}" for n in range(len(POSITIONS))]
    for text, name in (
        (xml([row(7)[:7]], others[:7]), "x.xml"),  # with the record ids, as many columns as FileMaker's script exports
        (",".join(f'"{each}"' for each in others) + "\r" + ",".join(f'"{each}"' for each in row(7)) + "\r", "x.mer"),
    ):
        with pytest.raises(ImageStop, match=r"has no column .*id_Contact, date"):
            read(text, name)
    assert [each.recid for each in read(xml([row(7)], others), "x.xml", columns=[*POSITIONS, "rowid"])] == [7]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (xml([row(7)], found=2), "says that it has 2 records, and 1 are there"),
        (xml([row(7)])[:-60], "XML of the export cannot be read"),
        (xml([row(7, "a\x0bb")]), "XML of the export has a control character in line 1"),
        (xml([]), "is empty"),
        ('<?xml version="1.0"?><FMPDSORESULT><ROW/></FMPDSORESULT>', "another grammar"),
        ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><FMPXMLRESULT>&b;</FMPXMLRESULT>', "cannot be read"),
        ("<!DOCTYPE html><html><table><tr><th>recid</th></tr></table></html>", "a web page"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), r"before 2007 \(.xls\)"),
        (bytes.fromhex("000100000002000100050002 0002c048424d37") + bytes(99), "a FileMaker file itself"),
        ("%PDF-1.7", "a PDF"),
    ],
)
def test_what_is_no_whole_export_stops_and_is_called_by_what_it_is(
    read: Callable[..., Export], text: str | bytes, words: str
) -> None:
    for name in ("x.xml", "x.tab"):
        with pytest.raises(ImageStop, match=words):
            read(text, name)


def test_a_workbook_is_known_by_its_bytes_and_its_dates_have_no_order(read: Callable[..., Export]) -> None:
    book, file = openpyxl.Workbook(), io.BytesIO()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(POSITIONS))
    sheet.append([dt.date(2016, 3, 12), "2.jpg", None, PATIENT, "Foot", 1, 2])
    book.save(file)
    export = read(file.getvalue(), "Image_Data.tab")
    assert [(each.recid, each.date) for each in export] == [(2, "03/12/2016")]
    assert [date_order(export, "mdy"), date_order(export, "proved")] == ["mdy", "mdy"]
    with pytest.raises(ImageStop, match="known for dates"):  # the third of December, silently
        date_order(export, "dmy")


def test_a_text_with_a_date_in_a_workbook_has_an_order_whatever_other_columns_hold(read: Callable[..., Export]) -> None:
    book, file = openpyxl.Workbook(), io.BytesIO()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(POSITIONS))
    sheet.append(["18/10/2016", "2.jpg", None, PATIENT, "Foot", dt.datetime(2025, 11, 3, 9, 5), 2])  # noqa: DTZ001
    book.save(file)
    export = read(file.getvalue(), "Image_Data.xlsx")
    assert [date_order(export, "dmy"), date_order(export, "proved")] == ["dmy", "dmy"]


@pytest.mark.parametrize(
    ("days", "order"),
    [
        (["3/12/2016", "18/10/2016 14:05:00"], "dmy"),
        (["3-12-2016", "18-10-2016"], "dmy"),
        (["3/12/2016", "10/18/2016"], "mdy"),
        (["2016/10/18", "2016-03-12", "3.12.2016", "", "4/4/2016"], "mdy"),  # none could be two days
        (["3/12/2016", "4/4/2016"], None),
        (["18/10/2016", "10/18/2016"], None),
    ],
)
def test_the_order_of_dates_is_proved_or_named_and_never_guessed(
    read: Callable[..., Export], days: list[str], order: Dates | None
) -> None:
    export = read(tab(*(row(number, date=day) for number, day in enumerate(days, start=2))))
    if order is None:
        with pytest.raises(ImageStop, match=r"cannot be told.* --dates mdy or --dates dmy"):
            date_order(export, "proved")
        named: list[Dates] = ["mdy", "dmy"]
        assert [date_order(export, each) for each in named] == named
    else:
        assert date_order(export, "proved") == order


def test_a_year_in_front_proves_no_day(read: Callable[..., Export]) -> None:
    assert date_order(read(tab(row(2, date="2016/10/18"))), "mdy") == "mdy"


@pytest.mark.parametrize(
    ("text", "order", "day"),
    [
        ("18.10.2016", "mdy", (2016, 10, 18)), ("3.12.2016", "mdy", (2016, 12, 3)),
        ("3. 12. 2016", "dmy", (2016, 12, 3)),
        ("2016. 3. 12.", "mdy", (2016, 3, 12)), ("2016. 10. 18. 14:05:00", "mdy", (2016, 10, 18)),
        ("2016/3/12", "dmy", (2016, 3, 12)), ("2016.03.12", "mdy", (2016, 3, 12)), ("2016-03-12", "dmy", (2016, 3, 12)),
        ("03-12-2016", "dmy", (2016, 12, 3)), ("03/12/2016", "dmy", (2016, 12, 3)),
        ("03/12/2016", "mdy", (2016, 3, 12)),
        ("3.12.2016 14:05:00", "mdy", (2016, 12, 3)), ("2016/10/18 2:05 PM", "mdy", (2016, 10, 18)),
        ("18.10.16", "mdy", None), ("03-12-2016", "mdy", None), ("10.18.2016", "mdy", None),
        ("2016年10月18日", "mdy", None),
    ],
)  # fmt: skip
def test_dates_as_filemaker_files_of_other_countries_write_them(
    text: str, order: str, day: tuple[int, int, int] | None
) -> None:
    assert _day(text, order) == (dt.date(*day) if day else None)


def test_an_export_of_a_clone_stops_for_its_file_names_are_those_of_other_record_ids(
    read: Callable[..., Export],
) -> None:
    clone = [row(number, name=f"{number + 6000}.JPG") for number in range(2, 7)]
    with pytest.raises(ImageStop, match=r"5 of 5 records name the file of another record id.*clone"):
        read(tab(*clone))
    export = read(tab(*clone[:2], row(4), row(5), row(6)))
    assert [each.recid for each in export] == [4, 5, 6]
    assert export.rejects_by_reason == {"file_name_differs": 2}
    assert export.found == 5
    assert len(read(tab(*clone), ignore_file_names=True)) == 5


@pytest.mark.parametrize(
    "name", ["IMG_0001.jpg", "1.jpg", "0007.jpg", "20161018.jpg", "Left-Dorsal.jpg", "4", "", "x/9.jpg"]
)
def test_names_that_cameras_and_people_give_say_nothing_of_record_ids(read: Callable[..., Export], name: str) -> None:
    rows = [row(number) for number in range(2, 6)]
    for each in rows:
        each[1] = name
    assert len(read(tab(*rows))) == 4
