"""Read FileMaker's export of its image records, in any of its file formats, and write it as CSV."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fm_pipeline.errors import ImageStop
from fm_pipeline.filemaker.exports.encoding import ENCODINGS, Encoding, decode
from fm_pipeline.filemaker.exports.errors import CharacterSetUnknown, ExportStop
from fm_pipeline.filemaker.exports.kinds import HEAD, Format, format_of, text_format
from fm_pipeline.folders import whole_file
from fm_pipeline.images.exports.columns import find_columns
from fm_pipeline.images.exports.text import refuse_incomplete, row_columns, text_columns
from fm_pipeline.images.exports.workbook import workbook_rows
from fm_pipeline.images.exports.xml import xml_rows

if TYPE_CHECKING:
    import pandas as pd

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
    with _as_image_stops():
        return _read(path, data, encoding, columns, ignore_file_names=ignore_file_names)


def _read(
    path: Path, data: bytes, encoding: Encoding | None, columns: Sequence[str] | None, *, ignore_file_names: bool
) -> Export:
    kind = format_of(path.suffix, data[:HEAD])
    dated: Set[int] = frozenset()
    if kind == "xlsx":
        rows, dated = workbook_rows(data)
        read, shown = row_columns(rows), "xlsx"
    elif kind == "xml":
        rows, dated = xml_rows(data)
        read, shown = row_columns(rows), "xml"
    else:
        text, shown = decode(data, encoding)
        kind = text_format(kind, text)
        refuse_incomplete(text, kind, len(data))
        read = text_columns(text, kind)
    if not read.columns:
        raise ImageStop(
            "The export of images is empty.",
            meaning="An empty source is never taken for one without images. Nothing was changed.",
            remedy="Look at the found set in FileMaker and export again.",
        )
    at, header = find_columns([column[0] for column in read.columns], columns, has_header=kind in {"xml", "mer"})
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
        at["date"] in dated,
    )
    if not len(found):
        raise ImageStop(
            f"None of the {found.found:,} records of the export can be used.",
            meaning="Most likely its columns are not what they were taken for. Nothing was changed.",
            remedy="Export with field names, or name the columns with --columns.",
        )
    return found


@contextmanager
def _as_image_stops() -> Iterator[None]:
    """Turn the errors of export files into those of images, which name the character set by an option."""
    try:
        yield
    except CharacterSetUnknown as error:
        raise ImageStop(
            error.what,
            meaning=error.meaning,
            remedy="Export it again as Unicode (UTF-8), or name the character set that was chosen in FileMaker with"
            f" --encoding (in Dagster: encoding, the configuration of image_metadata_csv): {', '.join(ENCODINGS)}.",
        ) from None
    except ExportStop as error:
        raise ImageStop(error.what, meaning=error.meaning, remedy=error.remedy) from None


def write_csv(path: Path, export: Export) -> None:
    """Write `recid,id_Contact,date,Type,Note`: UTF-8 without a mark, LF, quotes only where they are needed.

    The file may hold patient data in its notes, so only its owner can read it. It is there whole or not at all.

    Raises:
        ImageStop: it cannot be written.
    """
    # DataFrame.to_csv takes three times as long; a field needs quotes in few exports.
    texts = [_quoted(export.records[name].tolist()) for name in ("patient", "date", "category", "note")]
    rows = zip(map(str, export.records["recid"].tolist()), *texts, strict=True)
    try:
        with whole_file(path) as file:
            file.write("\n".join([",".join(HEADER), *map(",".join, rows), ""]))
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
    quoted = {text: '"' + text.replace('"', '""') + '"' for text in set(texts) if _SPECIAL.search(text)}
    return [quoted.get(text, text) for text in texts]
