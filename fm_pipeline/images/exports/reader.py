"""FileMaker's export of its image records, in any of the forms it comes in, as one list; and the CSV made of it."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fm_pipeline.errors import ImageStop
from fm_pipeline.images.exports.columns import find_columns
from fm_pipeline.images.exports.encoding import Encoding, decode
from fm_pipeline.images.exports.text import RecordColumns, in_field, quoted_records, row_columns, tab_columns
from fm_pipeline.images.exports.workbook import workbook_rows
from fm_pipeline.images.exports.xml import xml_rows
from fm_pipeline.staging.values.text import GROUP_SEPARATOR

Format = Literal["tab", "csv", "mer", "xlsx", "xml"]
HEADER = ("recid", "id_Contact", "date", "Type", "Note")
LONGEST_NUMBER = 18  # digits that fit PostgreSQL's bigint
_SPECIALS = ',"\r\n'  # what makes a field of a CSV need quotes
_SPECIAL = re.compile(f"[{_SPECIALS}]")
_RECID_NAME = re.compile(r"([1-9][0-9]{0,6})\.[A-Za-z0-9]{1,8}", re.ASCII)  # longer ones are dates or of telephones
_CONTROLS = "\0\v\r\n\x1d"
_CONTROL = re.compile(f"[{_CONTROLS}]")
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
        columns: of the records, in the order of ImageRecord's fields.
        repeated: records that were there before, equal in everything; each is in the columns once.
        additional: lines that hold only further related rows of the record before them.
        findings: counts of what was noticed and kept, by id.
        month_first: the file knows its dates as such, so they are month first here, whatever its country writes.
    """

    format: Format
    encoding: str
    sha256: str
    columns: Sequence[Sequence[Any]]
    rejects: Sequence[Reject]
    repeated: int
    additional: int
    findings: Mapping[str, int]
    month_first: bool = False

    def __len__(self) -> int:
        """How many records can be used."""
        return len(self.columns[0])

    def __iter__(self) -> Iterator[ImageRecord]:
        """Those records."""
        return map(ImageRecord._make, zip(*self.columns, strict=True))

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
    reader = _Reader(read, at, header)
    found = Export(kind, shown, hashlib.sha256(data).hexdigest(), *reader.read(), month_first)
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


class _Reader:
    """Judges the records of a file, column by column; only what is out of the ordinary is looked at one by one."""

    def __init__(self, read: RecordColumns, at: Mapping[str, int], header: bool) -> None:
        first = 1 if header else 0
        self._all = [column[first:] for column in read.columns] if header else read.columns
        self._numbers = read.numbers[first:]
        empty = [""] * len(self._numbers)
        patient = self._all[at["patient"]]
        if "patient_key" in at and not any(map(str.strip, patient)):  # of two that look alike, the one that is filled
            patient = self._all[at["patient_key"]]
        self._keys = list(map(str.strip, self._all[at["recid"]]))
        self._patients = list(map(str.strip, patient))
        self._dates = list(map(str.strip, self._all[at["date"]]))
        self._types = list(self._all[at["type"]]) if "type" in at else empty
        self._notes = list(self._all[at["note"]]) if "note" in at else empty
        self._ids = list(map(str.lower, map(str.strip, self._all[at["id"]]))) if "id" in at else empty
        self._names = list(map(str.strip, self._all[at["file_name"]])) if "file_name" in at else empty
        self._texts = (self._keys, self._patients, self._dates, self._types, self._notes, self._ids)
        self._rejects = dict.fromkeys(read.uneven, "field_count")
        self._left_out: set[int] = set()  # positions that are no record, or none of its own
        self._additional = self._repeated = self._repetitions = 0
        self._zeros = False

    def read(self) -> tuple[list[Sequence[Any]], list[Reject], int, int, dict[str, int]]:
        """Columns of ImageRecord, rejects, repeated, additional, findings."""
        whole = "".join(self._keys)
        usual = whole.isascii() and whole.isdigit() and all(self._keys) and max(map(len, self._keys)) <= LONGEST_NUMBER
        self._zeros = "\n0" in "\n".join(["", *self._keys])
        if self._zeros or not usual:
            for position, key in enumerate(self._keys):
                if not (key.isascii() and key.isdigit() and len(key) <= LONGEST_NUMBER and key.strip("0")):
                    self._judge_key(position, key)
        for texts in self._texts:
            whole = "".join(texts)
            if any(control in whole for control in _CONTROLS):
                for position, text in enumerate(texts):
                    if _CONTROL.search(text):
                        self._judge_controls(position, texts)
        self._judge_repeated()
        self._judge_file_names()
        columns: list[Sequence[Any]] = [self._numbers, *self._texts]
        if self._left_out or self._rejects:
            keep = [
                number not in self._rejects and position not in self._left_out
                for position, number in enumerate(self._numbers)
            ]
            columns = [list(compress(column, keep)) for column in columns]
        columns[1] = list(map(int, columns[1]))
        rejects = sorted(Reject(*reject) for reject in self._rejects.items())
        findings = {"repetition_in_field": self._repetitions} if self._repetitions else {}
        return columns, rejects, self._repeated, self._additional, findings

    def _judge_key(self, position: int, key: str) -> None:
        """A record id that is none: a line with further related rows, an empty record, or a reject."""
        if key:
            self._reject(position, "recid_invalid")
        elif any(texts[position].strip() for texts in self._texts):
            self._reject(position, "recid_missing")
        elif position and any(column[position] for column in self._all):
            self._left_out.add(position)
            self._additional += 1
        else:
            self._reject(position, "empty_record")

    def _judge_controls(self, position: int, texts: list[str]) -> None:
        """A field with control characters that FileMaker gives a meaning, or that PostgreSQL cannot keep."""
        text = texts[position]
        if "\0" in text:
            self._reject(position, "nul_character")
        elif texts is self._types or texts is self._notes:
            self._repetitions += GROUP_SEPARATOR in text
            texts[position] = in_field(text)
        elif GROUP_SEPARATOR in text:
            self._reject(position, "repetition_in_key")

    def _judge_repeated(self) -> None:
        """A record id that stands there twice: with equal data once is enough, with different data none is used."""
        if len(set(self._keys)) == len(self._keys) and not self._zeros:
            return
        places: dict[str, list[int]] = {}
        for position, key in enumerate(self._keys):
            if position not in self._left_out and self._numbers[position] not in self._rejects:
                places.setdefault(key.lstrip("0"), []).append(position)
        for positions in places.values():
            if len(positions) > 1:
                if len({self._content(position) for position in positions}) == 1:
                    self._left_out.update(positions[1:])
                    self._repeated += len(positions) - 1
                else:
                    for position in positions:
                        self._reject(position, "recid_contradicts")

    def _judge_file_names(self) -> None:
        """A record that names the file of another record id: the bulk dump was made from another copy of the file.

        A name that stands at several records is a camera's, and no name of the bulk dump.
        """
        named: dict[str, list[int]] = {}
        same = 0
        for position, (key, name) in enumerate(zip(self._keys, self._names, strict=True)):
            if position in self._left_out or self._numbers[position] in self._rejects:
                continue
            if name.startswith(f"{key}."):
                same += 1
            elif (found := _RECID_NAME.fullmatch(name)) and found[1] != key.lstrip("0"):
                named.setdefault(name.lower(), []).append(position)
        others = [positions[0] for positions in named.values() if len(positions) == 1]
        if len(others) > same:
            raise ImageStop(
                f"{len(others):,} of {len(others) + same:,} records name the file of another record id.",
                meaning="Most likely the export is of a clone of the FileMaker file that the bulk dump was made from,"
                " whose records have other numbers: images would go to wrong patients. Nothing was read.",
                remedy="Export from the file that the bulk dump was made from. If fileName holds names of cameras and"
                " not those of the bulk dump, add --ignore-file-names (in Dagster: ignore_file_names, the configuration"
                " of image_metadata_csv).",
            )
        for position in others:
            self._reject(position, "file_name_differs")

    def _content(self, position: int) -> tuple[str, ...]:
        """What makes two records the same; ids that differ by case only are the same."""
        return (self._patients[position].lower(), *(texts[position] for texts in self._texts[2:]))

    def _reject(self, position: int, reason: str) -> None:
        self._rejects.setdefault(self._numbers[position], reason)


def write_csv(path: Path, export: Export) -> None:
    """Write `recid,id_Contact,date,Type,Note`: UTF-8 without a mark, LF, quotes only where they are needed.

    The file may hold patient data in its notes, so only its owner can read it. It is there whole or not at all.

    Raises:
        ImageStop: it cannot be written.
    """
    recids, *texts = export.columns[1:6]
    # Python's csv module takes three times as long; a field needs quotes in few exports.
    rows = zip(map(str, recids), *map(_quoted, texts), strict=True)
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
