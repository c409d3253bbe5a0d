"""Related records that are written with a record: portal rows, related fields, `deleteRelated`.

Source: Claris FileMaker Data API Guide, "Create a record" and "Edit a record". The codes for an unknown portal or
record are not documented; here they are 102 and 101.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fm_pipeline.sandbox.filemaker.call import ApiCall
from fm_pipeline.sandbox.filemaker.cells import current, incoming, stamps, write
from fm_pipeline.sandbox.filemaker.data import values
from fm_pipeline.sandbox.filemaker.data.schema import LayoutDefinition, Occurrence
from fm_pipeline.sandbox.filemaker.data.store import StoreTable
from fm_pipeline.sandbox.filemaker.responses import ApiError

# `TO::field`, `TO::field(2)`, and a record id after a dot: `TO::field.0` is a new record
_RELATED = re.compile(r"(?P<occurrence>.+?)::(?P<field>.+?)(?:\.(?P<record>\d{1,18}))?")


@dataclass(frozen=True)
class _Row:
    """The data of one related record. `record` is its id, 0 for a new record, None for the first existing one.

    `further` are rows that are related to this one: a portal may show fields of a table beyond its own.
    """

    occurrence: Occurrence
    fields: Sequence[str]
    data: Mapping[str, Any]
    record: int | None
    mod_id: str | None = None
    further: Sequence[_Row] = ()


@dataclass(frozen=True)
class Related:
    """The related records of a request, checked against the layout."""

    rows: Sequence[_Row]
    deleted: Sequence[tuple[Occurrence, int]]


def take_related(call: ApiCall, layout: LayoutDefinition, given: Mapping[str, Any]) -> tuple[Related, dict[str, Any]]:
    """Split a request into its related records and the record's own `fieldData`.

    Raises:
        ApiError: 102 (a portal or field that is not on the layout), 960 (not in the form of the guide).
    """
    data = given.get("fieldData", {})
    if not isinstance(data, dict):
        raise ApiError(960)
    own = {name: value for name, value in data.items() if "::" not in name and name != "deleteRelated"}
    rows = []
    for name, value in data.items():
        if "::" in name:
            found = _RELATED.fullmatch(name)
            if (
                found is None
                or re.sub(r"\(\d+\)$", "", f"{found['occurrence']}::{found['field']}") not in layout.fields
            ):
                raise ApiError(102)
            fields = [each.partition("::")[2] for each in layout.fields if each.startswith(f"{found['occurrence']}::")]
            record = None if found["record"] is None else int(found["record"])
            rows.append(
                _Row(_occurrence(call, layout.table, found["occurrence"]), fields, {found["field"]: value}, record)
            )
    portals = given.get("portalData", {})
    if not isinstance(portals, dict):
        raise ApiError(960)
    for key, lines in portals.items():
        rows += _portal(call, layout, key, lines)
    deleted = data.get("deleteRelated", [])
    return Related(rows, [_deleted(call, layout, each) for each in _listed(deleted)]), own


def _portal(call: ApiCall, layout: LayoutDefinition, key: str, lines: object) -> list[_Row]:
    portals = [each for each in layout.portals if key in (each.key, each.occurrence)]
    if not portals:
        raise ApiError(102)
    portal, fields = portals[0], [name for each in portals for name in each.fields]
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise ApiError(960)
    rows = []
    for line in lines:
        record, mod_id = line.get("recordId"), line.get("modId")
        data = {name: value for name, value in line.items() if name not in ("recordId", "modId")}
        own = {name: value for name, value in data.items() if name.startswith(f"{portal.occurrence}::")}
        beyond = {name: value for name, value in data.items() if name not in own}
        if not set(beyond) <= set(fields):
            raise ApiError(102)
        occurrence = _occurrence(call, layout.table, portal.occurrence)
        further = [_further(call, occurrence, name, value) for name, value in beyond.items()]
        own = {name.partition("::")[2]: value for name, value in own.items()}
        number = 0 if record is None else _number(str(record))
        rows.append(_Row(occurrence, fields, own, number, None if mod_id is None else str(mod_id), further))
    return rows


def _further(call: ApiCall, near: Occurrence, name: str, value: object) -> _Row:
    """Return the row that a field of a table beyond the portal's own belongs to: the first one that is related."""
    occurrence, _, field = name.partition("::")
    return _Row(_occurrence(call, near.related_table, occurrence), [field], {field: value}, None)


def _deleted(call: ApiCall, layout: LayoutDefinition, text: object) -> tuple[Occurrence, int]:
    name, _, record = str(text).rpartition(".")
    portal = next((each for each in layout.portals if name in (each.key, each.occurrence)), None)
    return _occurrence(call, layout.table, portal.occurrence if portal else name), _number(record)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        raise ApiError(101)
    return int(text)


def _occurrence(call: ApiCall, table: str, name: str) -> Occurrence:
    try:
        return call.engine.store.occurrence(call.database, table, name)
    except KeyError:
        raise ApiError(102) from None


def put_related(
    call: ApiCall, db: sqlite3.Connection, table: StoreTable, number: int, related: Related, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the related records, inside the transaction of the record that they belong to.

    Returns:
        `newPortalRecordInfo` of the new records, if there are any.

    Raises:
        ApiError: as for a record itself; 101 for a record that is not related to this one.
    """
    made: list[dict[str, str]] = []
    for row in related.rows:
        written = _put_row(call, db, table, number, row, given)
        if row.record == 0 or (row.record is None and written[0]["modId"] == "0"):
            made += written
    for occurrence, record in related.deleted:
        there = call.engine.store.table(call.database, occurrence.related_table)
        current(call.engine, db, there, record)
        db.execute(f"DELETE FROM {there.rows} WHERE record_id = ?", (record,))  # noqa: S608
    return {"newPortalRecordInfo": made} if made else {}


def _put_row(
    call: ApiCall, db: sqlite3.Connection, table: StoreTable, number: int, row: _Row, given: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Write one related record, and those that are related to it.

    Returns:
        One entry for each field that was written, as clients of real servers count them.
    """
    there = call.engine.store.table(call.database, row.occurrence.related_table)
    cells = incoming(call, row.fields, there, row.data, given.get("dateformats"))
    theirs = (row.occurrence.match[1], 1)
    text, key = _match(call, db, table, number, row.occurrence.match[0])
    related_to = f"FROM {there.rows} WHERE {there.key(*theirs)} = ?"
    record, mod_id = row.record, 0
    if record is None:
        first = db.execute(f"SELECT record_id {related_to} ORDER BY record_id LIMIT 1", (key,)).fetchone()
        record = int(first[0]) if first else 0
    if record == 0:
        db.execute(f"INSERT INTO {there.rows} DEFAULT VALUES")
        record = int(db.execute("SELECT last_insert_rowid()").fetchone()[0])
        write(db, there, record, {theirs: text, **_stamped(call, there, True), **cells})
    else:
        if not db.execute(f"SELECT 1 {related_to} AND record_id = ?", (key, record)).fetchone():
            raise ApiError(101)
        mod_id = current(call.engine, db, there, record)
        if row.mod_id not in (None, str(mod_id)):
            raise ApiError(306)
        if cells:
            mod_id += 1
            write(db, there, record, {**_stamped(call, there, False), **cells})
            db.execute(f"UPDATE {there.rows} SET mod_id = ? WHERE record_id = ?", (mod_id, record))  # noqa: S608
    entry = {"tableName": row.occurrence.name, "recordId": str(record), "modId": str(mod_id)}
    entries = [dict(entry) for _ in row.data] or ([] if row.further else [entry])
    for further in row.further:
        entries += _put_row(call, db, there, record, further, given)
    return entries


def _match(call: ApiCall, db: sqlite3.Connection, table: StoreTable, number: int, field: str) -> tuple[str, object]:
    """Return text and key of the field that relates a record; a global field has the value of the session."""
    if table.fields[field].is_global:
        text = call.session.global_values.get((table.name, field, 1), "") if call.session else ""
        return text, values.sort_key(table.fields[field].type, text)
    sql = f"SELECT {table.column(field)}, {table.key(field)} FROM {table.rows} WHERE record_id = ?"  # noqa: S608
    row = db.execute(sql, (number,)).fetchone()
    return str(row[0]), row[1]


def _stamped(call: ApiCall, table: StoreTable, new: bool) -> dict[tuple[str, int], str]:
    return stamps(call.engine, table, ("creation", "modification") if new else ("modification",))
