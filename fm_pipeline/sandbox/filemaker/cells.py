"""Cells of a record to be written: checks their fields and values as FileMaker does, and stores them."""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fm_pipeline.sandbox.filemaker.call import ApiCall, Engine, check_names
from fm_pipeline.sandbox.filemaker.data import values
from fm_pipeline.sandbox.filemaker.data.store import StoreTable
from fm_pipeline.sandbox.filemaker.responses import ApiError

Cells = dict[tuple[str, int], str]


def incoming(
    call: ApiCall, shown: Sequence[str], table: StoreTable, data: Mapping[str, Any], dateformats: object
) -> Cells:
    """Check and convert the given data to texts, by field and repetition.

    Args:
        shown: the fields of the layout or portal.

    Raises:
        ApiError: 102 (a field that is not on it), 201 (the field cannot be written), 500, 501 (no date or time), 1708.
    """
    dateformat = call.dateformat(dateformats)
    locale = call.engine.store.locale(call.database)
    hidden = call.account_no_access.get(table.name, ())
    cells: Cells = {}
    for name, value in data.items():
        found = re.fullmatch(r"(.+)\((\d+)\)", name)
        base, n = (found[1], int(found[2])) if found and name not in shown else (name, 1)
        field = table.fields.get(base)
        if base not in shown or field is None or not 1 <= n <= field.repetitions:
            raise ApiError(102)
        if base in hidden or field.type == "container":
            raise ApiError(201)
        if value is None or not isinstance(value, str | int | float):
            raise ApiError(1708)
        if field.type in ("date", "timestamp") and dateformat != values.ISO and values.begins_with_iso_date(value):
            raise ApiError(500)
        text = values.canonical(field.type, value, dateformat, locale)
        if text and field.type in ("date", "time", "timestamp") and values.sort_key(field.type, text) is None:
            raise ApiError(501 if field.type == "time" else 500)
        cells[base, n] = text
    return cells


def stamps(engine: Engine, table: StoreTable, moments: tuple[str, ...]) -> Cells:
    """Return the values of auto-enter fields."""
    now = engine.clock.now()
    filled: Cells = {}
    for field in table.fields.values():
        if field.auto_enter in moments:
            filled[field.name, 1] = values.canonical(field.type, now)
        elif field.auto_enter == "uuid" and "creation" in moments:
            filled[field.name, 1] = str(uuid.uuid4()).upper()
    return filled


def set_globals(call: ApiCall) -> dict[str, Any]:
    """PATCH /globals. Raises ApiError 102 (no global field of that qualified name), 960 and those of `incoming`."""
    given = call.body()
    check_names(list(given), ("globalFields",))
    wanted = given.get("globalFields")
    if not isinstance(wanted, dict):
        raise ApiError(960)
    for name, value in wanted.items():
        occurrence, _, field = name.partition("::")
        table = call.engine.store.table_behind(call.database, occurrence)
        base = re.sub(r"\(\d+\)$", "", field)
        if table is None or base not in table.fields or not table.fields[base].is_global:
            raise ApiError(102)
        keep_globals(call, table, incoming(call, [base], table, {field: value}, None))
    return {}


def keep_globals(call: ApiCall, table: StoreTable, cells: Cells) -> Cells:
    """Store values of global fields in the session, and return the others."""
    assert call.session  # noqa: S101  # no writing without one
    for (name, n), text in cells.items():
        if table.fields[name].is_global:
            call.session.global_values[table.name, name, n] = text
    return {cell: text for cell, text in cells.items() if not table.fields[cell[0]].is_global}


def write(db: sqlite3.Connection, table: StoreTable, number: int, cells: Cells) -> None:
    """Write texts and their sort keys into a record."""
    if not cells:
        return
    sets = ", ".join(f"{table.column(*cell)} = ?, {table.key(*cell)} = ?" for cell in cells)
    pairs = ((text, values.sort_key(table.fields[cell[0]].type, text)) for cell, text in cells.items())
    db.execute(
        f"UPDATE {table.rows} SET {sets} WHERE record_id = ?",  # noqa: S608 - names of our own making
        (*(part for pair in pairs for part in pair), number),
    )


def current(engine: Engine, db: sqlite3.Connection, table: StoreTable, number: int) -> int:
    """Return the record's modification id. Raises ApiError 101 (no such record), 301 (in use)."""
    row = db.execute(f"SELECT mod_id FROM {table.rows} WHERE record_id = ?", (number,)).fetchone()  # noqa: S608
    if row is None:
        raise ApiError(101)
    if number in engine.faults.records_in_use.get(table.name, ()):
        raise ApiError(301)
    return int(row["mod_id"])
