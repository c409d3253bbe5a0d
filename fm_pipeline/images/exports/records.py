"""The records of an export as a pandas frame with an explicit schema, and the checks that each record must pass.

Every column but the numbers is text: pandas must not guess, or leading zeros, dates and empty fields would change.
`reader.py` imports this module only when a file is read, because pandas takes half a second to import.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fm_pipeline.errors import ImageStop
from fm_pipeline.filemaker.model import GROUP_SEPARATOR
from fm_pipeline.images.exports.text import RecordColumns, in_field

# The texts as Python has them. A string type of pandas costs a look at each of them.
TEXT = np.dtype("O")
SCHEMA: Mapping[str, object] = {
    "line": "int64",
    "recid": "int64",
    "patient": TEXT,
    "date": TEXT,
    "category": TEXT,
    "note": TEXT,
    "filemaker_id": TEXT,
}
_KEYS = ("recid", "patient", "date", "filemaker_id")
_FREE_TEXTS = ("category", "note")
_DATA = ["patient", "date", "category", "note", "filemaker_id"]  # two records with equal data are one record
_COLUMN_OF = {"recid": "recid", "date": "date", "type": "category", "note": "note", "id": "filemaker_id"}
_RECID = re.compile(r"(?=.*[1-9])[0-9]{1,18}")  # 18 digits fit PostgreSQL's bigint
_RECID_FILE = re.compile(r"([1-9][0-9]{0,6})\.[A-Za-z0-9]{1,8}")  # longer numbers are dates or come from telephones


class CheckedRecords(NamedTuple):
    """Records that passed every check, and what became of the others.

    Attributes:
        records: a frame with the columns of SCHEMA.
        rejects: reason by line number.
        repeated: records that occur again with equal data.
        additional: lines that hold only related rows of the record before them.
        repetitions: free-text fields with several values; they are kept.
    """

    records: pd.DataFrame
    rejects: Mapping[int, str]
    repeated: int
    additional: int
    repetitions: int


def check_records(read: RecordColumns, at: Mapping[str, int], *, header: bool) -> CheckedRecords:
    """Check every record of a file.

    Args:
        read: the fields as text.
        at: position by meaning, from `find_columns`.
        header: whether the first record is a header.

    Raises:
        ImageStop: most records name the file of another record id.
    """
    first = int(header)
    checks = _Checks(_frame(read, at, first), [column[first:] for column in read.columns], read.uneven)
    checks.check_keys()
    checks.check_control_characters()
    checks.check_duplicates()
    if "file_name" in at:
        checks.check_file_names(read.columns[at["file_name"]][first:])
    return checks.result()


def _frame(read: RecordColumns, at: Mapping[str, int], first: int) -> pd.DataFrame:
    """The fields of every record as text; keys and dates are trimmed."""
    fields = {name: read.columns[at[meaning]][first:] for meaning, name in _COLUMN_OF.items() if meaning in at}
    patient = read.columns[at["patient"]][first:]
    if "patient_key" in at:  # of two columns that look alike, the filled one
        patient = list(map(str.strip, patient))
        if "" in patient:
            other = read.columns[at["patient_key"]][first:]
            patient = [own or key for own, key in zip(patient, other, strict=True)]
    fields["patient"] = patient
    for name in _KEYS:
        if name in fields:
            fields[name] = list(map(str.strip, fields[name]))
    for name in _FREE_TEXTS:
        if name in fields:
            fields[name] = _with_lf(fields[name])
    if "filemaker_id" in fields:
        fields["filemaker_id"] = list(map(str.lower, fields["filemaker_id"]))
    numbers = read.numbers[first:]
    lines = np.arange(numbers.start, numbers.stop) if isinstance(numbers, range) else np.array(numbers, "int64")
    columns = {
        name: np.array(fields[name], TEXT) if name in fields else np.full(len(lines), "", TEXT)
        for name in list(SCHEMA)[1:]
    }
    # So pandas takes the columns as they are; a Series for each costs five times as much.
    frame = pd.DataFrame(columns, dtype=TEXT, copy=False)
    frame.insert(0, "line", lines)
    return frame


def _with_lf(texts: Sequence[str]) -> Sequence[str]:
    """Write the line breaks in the texts of a column as LF."""
    joined = "\0".join(texts)  # much faster than asking each text
    if "\v" not in joined and "\r" not in joined:
        return texts
    split = in_field(joined).split("\0")
    return split if len(split) == len(texts) else list(map(in_field, texts))


class _Checks:
    """Checks of a whole column at a time. The first reason for which a record is rejected counts."""

    def __init__(self, frame: pd.DataFrame, fields: Sequence[Sequence[str]], uneven: Sequence[int]) -> None:
        self._frame = frame  # shrinks with every check
        self._found = len(frame)
        self._fields = fields
        self._rejects = dict.fromkeys(uneven, "field_count")
        self._repeated = self._additional = self._repetitions = 0

    def result(self) -> CheckedRecords:
        records = self._frame if len(self._frame) == self._found else self._frame.reset_index(drop=True)
        return CheckedRecords(records, self._rejects, self._repeated, self._additional, self._repetitions)

    def _reject(self, which: ArrayLike, reason: str) -> None:
        mask = np.asarray(which, dtype=bool)
        if mask.any():
            self._rejects |= dict.fromkeys(self._frame.loc[mask, "line"].tolist(), reason)
            self._frame = self._frame[~mask]

    def check_keys(self) -> None:
        """Find records without a valid record id: related rows, empty records, or rejects."""
        keys = self._frame["recid"].tolist()
        joined = "".join(keys)
        # Most exports have plain numbers only; to ask for each of them takes ten times as long.
        is_plain = joined.isascii() and joined.isdigit() and max(map(len, keys)) < 19
        if not is_plain or min(keys) < "1":
            self._reject([key != "" and not _RECID.fullmatch(key) for key in keys], "recid_invalid")
        if "" not in keys:
            return
        without_key = self._frame["recid"] == ""
        rest = self._frame.loc[without_key, _DATA]
        filled = rest.apply(lambda column: column.str.strip() != "").any(axis=1)
        self._reject(self._frame.index.isin(filled.index[filled]), "recid_missing")
        # A related row has something in a column that is not read here. The first record has none before it.
        related = [at for at in filled.index[~filled] if at and any(column[at] for column in self._fields)]
        self._additional = len(related)
        self._frame = self._frame.drop(index=related)
        self._reject(self._frame["recid"] == "", "empty_record")

    def check_control_characters(self) -> None:
        """Reject what PostgreSQL cannot store and keys with several values."""
        for name in list(SCHEMA)[1:]:
            joined = "".join(self._frame[name].tolist())  # much faster than asking each field
            if "\0" in joined:
                self._reject(self._frame[name].str.contains("\0", regex=False), "nul_character")
                joined = "".join(self._frame[name].tolist())
            if name in _KEYS and GROUP_SEPARATOR in joined:
                several = self._frame[name].str.contains(GROUP_SEPARATOR, regex=False)
                self._reject(several, "repetition_in_key")
            if name in _FREE_TEXTS and GROUP_SEPARATOR in joined:
                self._repetitions += int(self._frame[name].str.contains(GROUP_SEPARATOR, regex=False).sum())

    def check_duplicates(self) -> None:
        """Keep one of several equal records; reject all records of an id with different data."""
        numbers = np.array(list(map(int, self._frame["recid"].tolist())), "int64")  # astype takes three times as long
        frame = self._frame
        frame.isetitem(list(SCHEMA).index("recid"), numbers)  # assign would copy all columns
        if frame["recid"].is_unique:
            return
        compared = frame.assign(patient=frame["patient"].str.lower())  # ids that differ by case only are equal
        distinct = compared.drop_duplicates(["recid", *_DATA])["recid"]
        self._reject(frame["recid"].isin(distinct[distinct.duplicated()]), "recid_contradicts")
        again = self._frame["recid"].duplicated()
        self._repeated = int(again.sum())
        self._frame = self._frame[~again]

    def check_file_names(self, names: Sequence[str]) -> None:
        """Reject records that name the file of another record id: the bulk dump comes from another copy of the file.

        A name that several records share comes from a camera; it is not a name of the bulk dump.
        """
        firsts = {name[:1] for name in names}
        if not any("0" <= first <= "9" or first.isspace() for first in firsts):
            return
        places: dict[str, list[int]] = defaultdict(list)
        matching = 0
        for at, recid in zip(self._frame.index.tolist(), self._frame["recid"].tolist(), strict=True):
            name = names[at].strip()
            if (found := _RECID_FILE.fullmatch(name)) and int(found[1]) != recid:
                places[name.lower()].append(at)
            elif name.startswith(f"{recid}."):
                matching += 1
        others = [same[0] for same in places.values() if len(same) == 1]
        if len(others) > matching:
            raise ImageStop(
                f"{len(others):,} of {len(others) + matching:,} records name the file of another record id.",
                meaning="Most likely the export is of a clone of the FileMaker file that the bulk dump was made from,"
                " whose records have other numbers: images would go to wrong patients. Nothing was read.",
                remedy="Export from the file that the bulk dump was made from. If fileName holds names of cameras and"
                " not those of the bulk dump, add --ignore-file-names (in Dagster: ignore_file_names, the configuration"
                " of image_metadata_csv).",
            )
        if others:
            self._reject(self._frame.index.isin(others), "file_name_differs")
