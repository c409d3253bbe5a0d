"""Rows of an answer as records, each only if it is what was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fm_pipeline.errors import FileMakerError
from fm_pipeline.filemaker.errors import FieldMissing
from fm_pipeline.filemaker.model import Field, FileMakerRecord, Value
from fm_pipeline.filemaker.odata.answers import error_in
from fm_pipeline.filemaker.odata.errors import ErrorInRow, NotOData, OptionIgnored
from fm_pipeline.filemaker.odata.urls import ROW_ID, ROW_MOD_ID
from fm_pipeline.filemaker.values import odata_reader


class Rows(NamedTuple):
    """Rows of a table occurrence in the order of their record ids, and whether the server says that there are more."""

    records: tuple[FileMakerRecord, ...]
    more: bool


def records_in(
    body: Mapping[str, Any], fields: Sequence[Field], last: int, limit: int, action: str
) -> tuple[FileMakerRecord, ...]:
    """Return the rows of an answer, after the check that they are those that were asked for.

    Args:
        body: the JSON object of the answer.
        fields: those that were selected.
        last: the record id after which the rows were asked for.
        limit: how many at most.
        action: what was asked for; names only, never a value.

    Raises:
        OptionIgnored: there are more rows, or others, or without their record ids.
        ErrorInRow, FieldMissing, NotOData: a row is not what was asked for.
    """
    rows = body.get("value")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NotOData(f"The answer has no rows when asked to {action}.")
    if len(rows) > limit:
        raise OptionIgnored(f"FileMaker sent {len(rows)} rows in place of {limit} when asked to {action}.")
    readers = [(field.name, odata_reader(field.result)) for field in fields]
    holds_error = "error" not in {field.name for field in fields}  # if a row has it
    records = []
    for row in rows:
        if holds_error and "error" in row:
            raise _error_of_row(row, readers, action)
        record = _record(row, readers, action)
        if record.record_id <= last:
            raise OptionIgnored(f"The record {record.record_id} came out of its order when asked to {action}.")
        last = record.record_id
        records.append(record)
    return tuple(records)


def joined(parts: Sequence[Rows]) -> Rows | None:
    """Return the rows that were asked for in parts, each part with other fields; None if they do not fit together.

    A row must have the same version in all parts, so that nobody has edited it between the requests.
    If a part has fewer rows, the server sends fewer at once, and the others wait for the next request.
    """
    rows = min(len(part.records) for part in parts)
    versions = {tuple((row.record_id, row.mod_id) for row in part.records[:rows]) for part in parts}
    if len(versions) > 1 or (rows == 0 and any(part.records for part in parts)):
        return None
    records = []
    for same in zip(*(part.records[:rows] for part in parts), strict=True):
        fields = {name: value for row in same for name, value in row.fields.items()}
        records.append(FileMakerRecord(same[0].record_id, same[0].mod_id, fields))
    return Rows(tuple(records), any(part.more or len(part.records) > rows for part in parts))


def _record(
    row: dict[str, Any], readers: Sequence[tuple[str, Callable[[object], Value]]], action: str
) -> FileMakerRecord:
    try:
        record_id, mod_id = int(row[ROW_ID]), int(row[ROW_MOD_ID])
        return FileMakerRecord(record_id, mod_id, {name: read(row[name]) for name, read in readers})
    except (KeyError, TypeError, ValueError):
        raise _error_of_row(row, readers, action) from None


def _error_of_row(
    row: Mapping[str, Any], readers: Sequence[tuple[str, Callable[[object], Value]]], action: str
) -> FileMakerError:
    """Return the error of a row that has not all that was asked for."""
    if "error" in row and "error" not in dict(readers):
        error = error_in(row["error"], action)
        code = "an error" if error is None or error.code is None else f"code {error.code}"
        return ErrorInRow(f"FileMaker sent {code} in place of a row when asked to {action}.")
    if not all(re.fullmatch(r"\d{1,18}", str(row.get(name))) for name in (ROW_ID, ROW_MOD_ID)):
        return OptionIgnored(f"A row came without its record id when FileMaker was asked to {action}.")
    for name, _ in readers:
        if name not in row:
            return FieldMissing(f"A row came without the field {name} when FileMaker was asked to {action}.")
    return NotOData(f"A field of the record {row[ROW_ID]} holds no single value when asked to {action}.")
