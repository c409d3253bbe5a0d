"""Read FileMaker's export of its image records, in any of its file formats, and write it as CSV."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from fm_pipeline.errors import ImageStop
from fm_pipeline.images.exports.columns import find_columns
from fm_pipeline.images.exports.encoding import Encoding, decode
from fm_pipeline.images.exports.text import RecordColumns, quoted_records, row_columns, tab_columns
from fm_pipeline.images.exports.workbook import workbook_rows
from fm_pipeline.images.exports.xml import xml_rows

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["tab", "csv", "mer", "xlsx", "xml"]
HEADER = ("recid", "id_Contact", "date", "Type", "Note")
_SPECIALS = ',"\r\n'  # what makes a field of a CSV need quotes
_SPECIAL = re.compile(f"[{_SPECIALS}]")
REASONS = {
    "field_count": "the record has more or fewer fields than the others",
    "empty_record": "every field is empty",
    "recid_missing": "the record id is empty",
    "recid_invalid": "the record id is not a whole number above 0",
    "repetition_in_key": "record id, patient or date hold several values (repetitions)",
    "nul_character": "a field holds a NUL character",
    "file_name_differs": "its file in the bulk dump has another name than the one it was exported with",
    "recid_contradicts": "the same record id stands at different data; none of them is used",
}


class ImageRecord(NamedTuple):
    """What FileMaker says of an image. Texts are as exported, with line breaks as LF; keys and date are trimmed.

    Attributes:
        line: number of the record in the file, a header counted, from 1.
        patient: FileMaker's id of the patient, or what stands there.
        filemaker_id: the image's own id where the export has it, else empty.
    """

    line: int
    recid: int
    patient: str
    date: str
    category: str
    note: str
    filemaker_id: str


class Reject(NamedTuple):
    """A record that cannot be used; `reason` is one of REASONS."""

    line: int
    reason: str


@dataclass(frozen=True)
class Export:
    """A file that was read. `found` = records + rejects + repeated.

    Attributes:
        records: a frame with the columns of `records.SCHEMA`, which are the fields of ImageRecord.
        repeated: records that occur again with equal data; each is in the frame once.
        additional: lines that hold only further related rows of the record before them.
        findings: counts of what was noticed and kept, by id.
        month_first: the file knows its dates as such, so they are month first here, whatever its country writes.
    """

    format: Format
    encoding: str
    sha256: str
    records: pd.DataFrame
    rejects: Sequence[Reject]
    repeated: int
    additional: int
    findings: Mapping[str, int]
    month_first: bool = False

    def __len__(self) -> int:
        """How many records can be used."""
        return len(self.records)

    def __iter__(self) -> Iterator[ImageRecord]:
        """Those records."""
        return map(ImageRecord._make, self.records.itertuples(index=False, name=None))

    @property
    def found(self) -> int:
        """How many records the file has."""
        return len(self) + len(self.rejects) + self.repeated

    @property
    def rejects_by_reason(self) -> dict[str, int]:
        """Their number."""
        return dict(Counter(reject.reason for reject in self.rejects))


def read_export(
    path: Path,
    *,
    encoding: Encoding | None = None,
    columns: Sequence[str] | None = None,
    ignore_file_names: bool = False,
) -> Export:
    """Read an export: `.tab`, `.csv`, `.mer`, `.xlsx` or `.xml`, with or without a header.

    Args:
        encoding: of text, if it is known; otherwise it is found out.
        columns: names of the columns in their order, of a file without a header.
        ignore_file_names: `fileName` is no name of the bulk dump, though it looks like one.

    Raises:
        ImageStop: the file cannot be read, has no records, is cut at its end, or lacks a column; or most of its records
            name the files of other record ids.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageStop(
            f"The export of images cannot be read ({error.strerror or type(error).__name__}).",
            meaning="Nothing was changed.",
            remedy="Check the path and who may read it.",
        ) from None
    kind, month_first = _format(path, data), False
    if kind == "xlsx":
        rows, month_first = workbook_rows(data)
        read, shown = row_columns(rows), "xlsx"
    elif kind == "xml":
        rows, month_first = xml_rows(data)
        read, shown = row_columns(rows), "xml"
    else:
        text, shown = decode(data, encoding)
        # `.csv` by name and tabs by nature, or the other way round: the first line tells.
        head = text[:1000].replace("\r", "\n").split("\n", 1)[0]
        tabs = head.count("\t") > head.count(",") + head.count(";") and not head.startswith('"')
        if kind != "mer":  # a merge file quotes, also between tabs
            kind = "tab" if tabs else kind if kind != "tab" or "\t" in head else "csv"
        read = tab_columns(text) if kind == "tab" else row_columns(quoted_records(text))
    _refuse_cut(read)
    at, header = find_columns([column[0] for column in read.columns], columns)
    if ignore_file_names:
        at = {meaning: position for meaning, position in at.items() if meaning != "file_name"}
    from fm_pipeline.images.exports.records import check_records  # noqa: PLC0415  # pandas is slow to import

    checked = check_records(read, at, header=header)
    found = Export(
        kind,
        shown,
        hashlib.sha256(data).hexdigest(),
        checked.records,
        sorted(Reject(*reject) for reject in checked.rejects.items()),
        checked.repeated,
        checked.additional,
        {"repetition_in_field": checked.repetitions} if checked.repetitions else {},
        month_first,
    )
    if not len(found):
        raise ImageStop(
            f"None of the {found.found:,} records of the export can be used.",
            meaning="Most likely its columns are not what they were taken for. Nothing was changed.",
            remedy="Export with field names, or name the columns with --columns.",
        )
    return found


def _refuse_cut(read: RecordColumns) -> None:
    """An empty file is never taken for one without images, nor a file that was cut for a whole one."""
    if not read.columns:
        raise ImageStop(
            "The export of images is empty.",
            meaning="An empty source is never taken for one without images. Nothing was changed.",
            remedy="Look at the found set in FileMaker and export again.",
        )
    width, number = len(read.columns), len(read.numbers) + len(read.uneven)
    if read.last < width:
        raise ImageStop(
            f"The last record of the export, number {number}, is cut: it has {read.last} of {width} fields.",
            meaning="The file is not whole, so more may be missing. Nothing was read.",
            remedy="Copy or export it again.",
        )


_OTHERS = {  # what a file begins with -> what it is
    b"\xd0\xcf\x11\xe0": "an Excel file of before 2007 (.xls)",
    b"\0\1\0\0\0\2\0\1\0\5\0\2\0\2\xc0": "a FileMaker file itself",
    b"%PDF-": "a PDF document",
}
_PAGE = re.compile(r"(?i)<(!doctype html|html|head|body|table)")
_XML = re.compile(r"(?i)<(\?xml(?!.*<html)|\w*:?FMPXMLRESULT|\w*:?FMPDSORESULT)", re.DOTALL)
_HEAD = 1024  # bytes that tell


def _format(path: Path, data: bytes) -> Format:
    """By the first bytes, and only for text by the name.

    Raises:
        ImageStop: it is a kind of file that is not read.
    """
    if data.startswith(b"PK\x03\x04"):
        return "xlsx"
    head = data[:_HEAD].decode("utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig", "replace").lstrip()
    if _XML.match(head):
        return "xml"
    other = next((kind for magic, kind in _OTHERS.items() if data.startswith(magic)), None)
    if other is None and _PAGE.match(head):
        other = "a web page (HTML)"
    if other:
        raise ImageStop(
            f"The export is {other}, which is not read.",
            meaning="Nothing was read from it.",
            remedy="Export the records as tab-separated text, as Merge, as an Excel workbook (.xlsx) or as XML.",
        )
    suffixes: dict[str, Format] = {".csv": "csv", ".mer": "mer"}
    return suffixes.get(path.suffix.lower(), "tab")


def write_csv(path: Path, export: Export) -> None:
    """Write `recid,id_Contact,date,Type,Note`: UTF-8 without a mark, LF, quotes only where they are needed.

    The file may hold patient data in its notes, so only its owner can read it. It is there whole or not at all.

    Raises:
        ImageStop: it cannot be written.
    """
    # DataFrame.to_csv takes three times as long; a field needs quotes in few exports.
    texts = [_quoted(export.records[name].tolist()) for name in ("patient", "date", "category", "note")]
    rows = zip(map(str, export.records["recid"].tolist()), *texts, strict=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        # Path.open takes no opener.
        with open(partial, "w", encoding="utf-8", newline="", opener=_for_its_owner) as file:
            file.write(",".join(HEADER) + "\n" + "".join([",".join(row) + "\n" for row in rows]))
        partial.replace(path)
    except OSError as error:
        raise ImageStop(
            f"The CSV cannot be written ({error.strerror or type(error).__name__}).",
            meaning="A file that was there before is as it was.",
            remedy="Check the path, the room on the disk, and who may write there.",
        ) from None


def _quoted(texts: Sequence[str]) -> Sequence[str]:
    """A column with quotes around the fields that need them (RFC 4180)."""
    whole = "".join(texts)
    if not any(special in whole for special in _SPECIALS):
        return texts
    return ['"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text for text in texts]


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
