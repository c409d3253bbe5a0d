"""Detect the format of an export file by its first bytes, and only for text by its name."""

from __future__ import annotations

import re
from typing import Literal

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.quoted import has_whole_quotes

Format = Literal["tab", "csv", "mer", "xlsx", "xml"]
SUFFIXES: dict[str, Format] = {".tab": "tab", ".csv": "csv", ".mer": "mer", ".xlsx": "xlsx", ".xml": "xml"}
NUMERIC_PART_ONLY: frozenset[Format] = frozenset(
    {"csv", "mer"}
)  # of number fields; Claris help, "Comma-separated text"
HEAD = 1024  # bytes that tell

_OTHERS = {  # what a file begins with -> what it is
    b"\xd0\xcf\x11\xe0": "an Excel file of before 2007 (.xls)",
    b"\0\1\0\0\0\2\0\1\0\5\0\2\0\2\xc0": "a FileMaker file itself",
    b"%PDF-": "a PDF document",
    b"ID;P": "a SYLK file",
    b"TABLE\r": "a DIF file",
}
_DBASE = re.compile(rb"\x03[\x00-\xff][\x01-\x0c][\x01-\x1f].{4}.{4}\0\0", re.DOTALL)  # with the day of its last edit
_PAGE = re.compile(r"(?i)<(!doctype html|html|head|body|table)")
_XML = re.compile(r"(?i)<(\?xml(?!.*<html)|\w*:?FMPXMLRESULT|\w*:?FMPDSORESULT)", re.DOTALL)


def format_of(suffix: str, head: bytes) -> Format:
    """Return the format of a file.

    Args:
        suffix: of its name.
        head: its first bytes, `HEAD` of them.

    Raises:
        ExportStop: it is a kind of file that is not read.
    """
    if head.startswith(b"PK\x03\x04"):
        return "xlsx"
    text = head.decode("utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig", "replace").lstrip()
    if _XML.match(text):
        return "xml"
    other = next((kind for magic, kind in _OTHERS.items() if head.startswith(magic)), None)
    if other is None and _DBASE.match(head):
        other = "a dBASE file (.dbf)"
    if other is None and _PAGE.match(text):
        other = "a web page (HTML)"
    if other:
        raise ExportStop(
            f"The export is {other}, which is not read.",
            meaning="Nothing was read from it.",
            remedy="Export the records as tab-separated text, as Merge, as an Excel workbook (.xlsx) or as XML.",
        )
    named = SUFFIXES.get(suffix.lower(), "tab")
    return named if named in {"csv", "mer"} else "tab"


def text_format(named: Format, text: str) -> Format:
    """Return the format of a text: `.csv` by name may have tabs by nature, and the other way round.

    Args:
        named: by its name.
        text: its beginning.
    """
    head = text[:HEAD].lstrip("\r\n").replace("\r", "\n").split("\n", 1)[0]
    if named == "mer":  # it quotes, also between tabs
        return named
    if named == "csv" and any(has_whole_quotes(head, separator) for separator in ",;"):
        return named  # with tabs in its fields
    if head.count("\t") > head.count(",") + head.count(";") and not head.startswith('"'):
        return "tab"
    return named if named != "tab" or "\t" in head else "csv"
