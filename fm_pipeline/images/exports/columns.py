"""Identify the columns of an export, by known spellings of the header or by position."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fm_pipeline.errors import ImageStop
from fm_pipeline.pluralize import counted

# The order of FileMaker's export script (docs/images.md); tab and comma files have no header.
POSITIONS = ("date", "fileName", "id", "id_Contact", "Name_of_file", "NexusExportDate", "recid", "Type")
# Meaning of a column -> its spellings, without letter case, blanks and punctuation.
_SPELLINGS = {
    "recid": {"recid", "recordid", "rec"},
    "patient": {"idcontact", "contactid"},
    "patient_key": {"idkey", "keyid"},
    "date": {"date", "imagedate", "datetaken"},
    "type": {"type", "imagetype", "category"},
    "note": {"note", "notes"},
    "id": {"id", "imageid", "uuid"},
    "file_name": {"filename", "filenane"},
    "title": {"nameoffile"},
    "exported": {"nexusexportdate"},
}
_MEANING = {spelling: meaning for meaning, spellings in _SPELLINGS.items() for spelling in spellings}
REQUIRED = {"recid": "recid", "patient": "id_Contact", "date": "date"}


def meaning_of(name: str) -> str | None:
    """Return the meaning of a column's name, for example of `Images::id_Contact`, `id.key` or `Name of file`."""
    plain = re.sub(r"[^a-z0-9]", "", name.rsplit("::", 1)[-1].casefold())
    return _MEANING.get(plain)


def find_columns(
    first: Sequence[str], given: Sequence[str] | None = None, *, has_header: bool = False
) -> tuple[Mapping[str, int], bool]:
    """Return the position of each column.

    Args:
        first: the first record.
        given: names of the columns in order, if the file has no header, or other names in it.
        has_header: the format always has one.

    Returns:
        Position by meaning, and whether the first record is a header.

    Raises:
        ImageStop: a column is missing or repeated, or there is neither a header nor the known number of columns.
    """
    if given:
        if len(given) != len(first):
            raise _stop(f"The export has {counted(len(first), 'column')}, not the {len(given)} that were named")
        return _positions(given), has_header
    if has_header:
        return _positions(first), True
    known = [meaning_of(name) for name in first]
    if "recid" in known and sum(meaning is not None for meaning in known) > 1:
        return _positions(first), True
    if len(first) != len(POSITIONS):
        raise _stop(f"The export has no header and {counted(len(first), 'column')}")
    return _positions(POSITIONS), False


def _positions(names: Sequence[str]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for position, name in enumerate(names):
        meaning = meaning_of(name)
        if meaning in found:
            raise _stop(f"Two columns of the export mean the same: {position + 1} and {found[meaning] + 1}")
        if meaning:
            found[meaning] = position
    if "patient" not in found and "patient_key" in found:
        found["patient"] = found["patient_key"]
    missing = [shown for meaning, shown in REQUIRED.items() if meaning not in found]
    if missing:
        raise _stop(f"The export has no column {', '.join(missing)}")
    return found


def _stop(what: str) -> ImageStop:
    return ImageStop(
        f"{what}.",
        meaning="The columns cannot be identified. Nothing was read.",
        remedy=f"Export with field names, or these fields in this order: {', '.join(POSITIONS)};"
        " or name them with --columns.",
    )
