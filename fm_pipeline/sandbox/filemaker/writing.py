"""Records coming in: create, edit, duplicate, delete."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from typing import Any

from fm_pipeline.sandbox.filemaker import container_files, scripts, values
from fm_pipeline.sandbox.filemaker.answers import Refusal
from fm_pipeline.sandbox.filemaker.call import Call, check_names
from fm_pipeline.sandbox.filemaker.reading import record_id
from fm_pipeline.sandbox.filemaker.schema import ContainerFile, Layout
from fm_pipeline.sandbox.filemaker.store import Table

_PARAMETERS = ("fieldData", "options", *scripts.PARAMETERS)
_Cells = dict[tuple[str, int], str]


def create(call: Call) -> dict[str, Any]:
    """POST …/records. Raises Refusal 102, 201, 500, 501, 1708, and then nothing is written."""
    given, layout = call.body(), call.layout()
    check_names(list(given), (*_PARAMETERS, *_dateformats(call)))
    if "fieldData" not in given:
        raise Refusal(960)
    ends = scripts.check(call, given)
    table = call.engine.store.table(call.database, layout.table)
    cells = _cells(call, layout, table, given)
    with call.engine.store.transaction() as db:
        db.execute(f"INSERT INTO {table.rows} DEFAULT VALUES")
        made = int(db.execute("SELECT last_insert_rowid()").fetchone()[0])
        _write(db, table, made, _stamps(call, table, ("creation", "modification")) | cells)
    return {"recordId": str(made), "modId": "0", **ends}


def edit(call: Call) -> dict[str, Any]:
    """PATCH …/records/{id}. Raises Refusal as `create`, and 101, 301, 306."""
    given, layout = call.body(), call.layout()
    check_names(list(given), (*_PARAMETERS, "modId", *_dateformats(call)))
    ends = scripts.check(call, given)
    table = call.engine.store.table(call.database, layout.table)
    number = record_id(call)
    cells = _cells(call, layout, table, given)
    with call.engine.store.transaction() as db:
        current = _current(call, db, table, number)
        if "modId" in given and str(given["modId"]) != str(current):
            raise Refusal(306)
        if cells:
            _write(db, table, number, _stamps(call, table, ("modification",)) | cells)
            current += 1
            db.execute(f"UPDATE {table.rows} SET mod_id = ? WHERE record_id = ?", (current, number))  # noqa: S608
    return {"modId": str(current), **ends}


def put_file(call: Call, table: Table, field: str, repetition: int, file: ContainerFile) -> dict[str, Any]:
    """Put a file into a container of the record that the URL names. Raises Refusal 101, 201, 301, 306."""
    check_names(list(call.query), ("modId",))
    number = record_id(call)
    if field in call.account_no_access.get(table.name, ()):
        raise Refusal(201)
    with call.engine.store.transaction() as db:
        current = _current(call, db, table, number)
        if call.query.get("modId", str(current)) != str(current):
            raise Refusal(306)
        cells = {(field, repetition): container_files.keep(db, file)}
        _write(db, table, number, _stamps(call, table, ("modification",)) | cells)
        db.execute(f"UPDATE {table.rows} SET mod_id = ? WHERE record_id = ?", (current + 1, number))  # noqa: S608
    return {"modId": str(current + 1)}


def duplicate(call: Call) -> dict[str, Any]:
    """POST …/records/{id}: the same fields in a new record. Raises Refusal 101."""
    ends = scripts.check(call, call.query)
    table = call.engine.store.table(call.database, call.layout().table)
    with call.engine.store.transaction() as db:
        number = record_id(call)
        if not db.execute(f"SELECT 1 FROM {table.rows} WHERE record_id = ?", (number,)).fetchone():  # noqa: S608
            raise Refusal(101)
        cells = [(table.column(f.name, n), table.key(f.name, n)) for f, n in table.cells()]
        columns = ", ".join(name for pair in cells for name in pair)
        db.execute(
            f"INSERT INTO {table.rows} ({columns}) SELECT {columns} FROM {table.rows} WHERE record_id = ?",  # noqa: S608
            (number,),
        )
        made = int(db.execute("SELECT last_insert_rowid()").fetchone()[0])
        _write(db, table, made, _stamps(call, table, ("creation", "modification")))
    return {"recordId": str(made), "modId": "0", **ends}


def delete(call: Call) -> dict[str, Any]:
    """DELETE …/records/{id}. Raises Refusal 101, 301."""
    check_names(list(call.query), scripts.PARAMETERS)
    ends = scripts.check(call, call.query)
    table = call.engine.store.table(call.database, call.layout().table)
    with call.engine.store.transaction() as db:
        number = record_id(call)
        _current(call, db, table, number)
        db.execute(f"DELETE FROM {table.rows} WHERE record_id = ?", (number,))  # noqa: S608
    return dict(ends)


def _cells(call: Call, layout: Layout, table: Table, given: Mapping[str, Any]) -> _Cells:
    """What to write, by field and repetition."""
    data = given.get("fieldData", {})
    if not isinstance(data, dict):
        raise Refusal(960)
    dateformat = call.dateformat(given.get("dateformats"))
    locale = call.engine.store.locale(call.database)
    hidden = call.account_no_access.get(table.name, ())
    cells: _Cells = {}
    for name, value in data.items():
        found = re.fullmatch(r"(.+)\((\d+)\)", name)
        base, n = (found[1], int(found[2])) if found and name not in layout.fields else (name, 1)
        field = table.fields.get(base)
        if base not in layout.fields or field is None or not 1 <= n <= field.repetitions:
            raise Refusal(102)
        if base in hidden or field.type == "container":
            raise Refusal(201)
        if value is None or not isinstance(value, str | int | float):
            raise Refusal(1708)
        text = values.canonical(field.type, value, dateformat, locale)
        if text and field.type in ("date", "time", "timestamp") and values.sort_key(field.type, text) is None:
            raise Refusal(501 if field.type == "time" else 500)
        cells[base, n] = text
    return cells


def _stamps(call: Call, table: Table, moments: tuple[str, ...]) -> _Cells:
    now = call.engine.clock.now()
    return {(f.name, 1): values.canonical(f.type, now) for f in table.fields.values() if f.auto_enter in moments}


def _write(db: sqlite3.Connection, table: Table, number: int, cells: _Cells) -> None:
    if not cells:
        return
    sets = ", ".join(f"{table.column(*cell)} = ?, {table.key(*cell)} = ?" for cell in cells)
    pairs = ((text, values.sort_key(table.fields[cell[0]].type, text)) for cell, text in cells.items())
    db.execute(
        f"UPDATE {table.rows} SET {sets} WHERE record_id = ?",  # noqa: S608 - names of our own making
        (*(part for pair in pairs for part in pair), number),
    )


def _current(call: Call, db: sqlite3.Connection, table: Table, number: int) -> int:
    """The record's modification id. Raises Refusal 101 (no such record), 301 (somebody has it open)."""
    row = db.execute(f"SELECT mod_id FROM {table.rows} WHERE record_id = ?", (number,)).fetchone()  # noqa: S608
    if row is None:
        raise Refusal(101)
    if number in call.engine.faults.records_in_use.get(table.name, ()):
        raise Refusal(301)
    return int(row["mod_id"])


def _dateformats(call: Call) -> tuple[str, ...]:
    return ("dateformats",) if call.engine.behaviour.version >= 21 else ()
