"""Writes records: create, update, delete, one or many; files of containers; scripts.

Source: Claris OData API Guide, "Create a record", "Update record references", "Update a record with a container",
"Run scripts"; headers as published clients read them.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
import sqlite3
from email.message import Message
from typing import Any

from starlette.responses import Response

from fm_pipeline.sandbox.filemaker import scripts
from fm_pipeline.sandbox.filemaker.cells import Cells, current, stamps, write
from fm_pipeline.sandbox.filemaker.data import container_files, values
from fm_pipeline.sandbox.filemaker.data.find_requests import Condition
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, StoredContainerFile
from fm_pipeline.sandbox.filemaker.odata.failures import ServiceError, syntax, unknown_field
from fm_pipeline.sandbox.filemaker.odata.query import filtered, selection
from fm_pipeline.sandbox.filemaker.odata.records import record_content, record_number
from fm_pipeline.sandbox.filemaker.odata.request import ServiceCall
from fm_pipeline.sandbox.filemaker.odata.sets import StoreEntitySet

_BRACKETS = re.compile(r"(.+)\[(\d{1,4})\]")
_FILE_NAME = "@com.filemaker.odata.Filename"
_FILE_TYPE = "@com.filemaker.odata.ContentType"


def create(call: ServiceCall) -> Response:
    """POST {set}: 201 with the row, or 204 with `Prefer: return=minimal`. Raises ServiceError 8309, -1002."""
    entities = call.named_set()
    with call.engine.store.transaction() as db:
        cells = _incoming(call, db, entities)
        db.execute(f"INSERT INTO {entities.table.rows} DEFAULT VALUES")
        made = int(db.execute("SELECT last_insert_rowid()").fetchone()[0])
        write(db, entities.table, made, stamps(call.engine, entities.table, ("creation", "modification")) | cells)
    row = record_content(call, entities, selection(call, entities), made)
    where = f"{call.base}/{entities.name}(ROWID={made})"
    if call.prefers.get("return") == "minimal":
        return Response(status_code=204, headers={"Location": where, "OData-EntityId": where})
    return call.answer(row, 201, {"Location": str(row.get(call.control("editLink"), where))})


def update(call: ServiceCall) -> Response:
    """PATCH {set}({key}), or {set} with `$filter`: 204, or 200 with the row if the request prefers it."""
    entities = call.named_set()
    numbers = _numbers(call, entities)
    with call.engine.store.transaction() as db:
        cells = stamps(call.engine, entities.table, ("modification",)) | _incoming(call, db, entities)
        for number in numbers:
            _change(call, db, entities, number, cells)
    preferred = call.prefers.get("return")
    headers = {"fmodata.affected_rows": str(len(numbers))}
    if preferred == "minimal" or (preferred is None and not call.engine.behaviour.odata.update_returns_row):
        return Response(status_code=204, headers=headers)
    chosen = selection(call, entities)
    found = [record_content(call, entities, chosen, number) for number in numbers]
    return call.answer(found[0] if call.path.key is not None else {"value": found}, headers=headers)


def delete(call: ServiceCall) -> Response:
    """DELETE {set}({key}), or {set} with `$filter`: 204."""
    entities = call.named_set()
    numbers = _numbers(call, entities)
    with call.engine.store.transaction() as db:
        for number in numbers:
            current(call.engine, db, entities.table, number)
            db.execute(f"DELETE FROM {entities.table.rows} WHERE record_id = ?", (number,))  # noqa: S608
    return Response(status_code=204, headers={"fmodata.affected_rows": str(len(numbers))})


def upload(call: ServiceCall) -> Response:
    """PATCH {set}({key})/{field} with the bytes of a file, its type and its name in Content-Disposition: 204."""
    entities = call.named_set()
    field, repetition = _named(entities, call.path.rest[0])
    if field.type != "container":
        raise unknown_field(field.name)
    kind = call.headers.get("content-type", "application/octet-stream")
    message = Message()
    message["content-disposition"] = call.headers.get("content-disposition", "attachment")
    file = StoredContainerFile(call.body, message.get_filename("") or _untitled(kind), kind)
    number = record_number(call, entities)
    with call.engine.store.transaction() as db:
        _change(call, db, entities, number, {(field.name, repetition): container_files.keep(db, file)})
    return Response(status_code=204, headers={"fmodata.affected_rows": "1"})


def run_script(call: ServiceCall) -> Response:
    """POST …/Script.{name}, for a file, a set or a record. An error of the script is not one of the request."""
    name = (call.path.rest[-1] if call.path.rest else call.path.resource).removeprefix("Script.")
    if call.path.key is not None:
        record_number(call, call.named_set())
    error, result = scripts.perform(call.engine, call.database, name, call.given().get("scriptParameterValue"))
    return call.answer({"scriptResult": {"code": error, "resultParameter": result}})


def _numbers(call: ServiceCall, entities: StoreEntitySet) -> list[int]:
    """Return the records that a request changes."""
    if call.path.key is not None:
        return [record_number(call, entities)]
    if "filter" not in call.options:
        raise syntax(call.path.resource)
    condition = filtered(call, entities, Condition("1"))
    sql = f"SELECT r.record_id FROM {entities.table.rows} r WHERE {condition.sql} ORDER BY 1"  # noqa: S608
    with call.engine.store.reading() as db:
        return [int(row[0]) for row in db.execute(sql, condition.parameters)]


def _change(call: ServiceCall, db: sqlite3.Connection, entities: StoreEntitySet, number: int, cells: Cells) -> None:
    mod_id = current(call.engine, db, entities.table, number)
    write(db, entities.table, number, cells)
    db.execute(f"UPDATE {entities.table.rows} SET mod_id = ? WHERE record_id = ?", (mod_id + 1, number))  # noqa: S608


def _incoming(call: ServiceCall, db: sqlite3.Connection, entities: StoreEntitySet) -> Cells:
    """Check and convert the values of the body."""
    given, cells = call.given(), Cells()
    for name, value in given.items():
        if "@" in name and name not in entities.fields:
            continue
        field, repetition = _named(entities, name)
        if field.is_global or not isinstance(value, str | int | float | None):
            raise unknown_field(name)
        is_file = field.type == "container" and value
        text = container_files.keep(db, _decoded(given, name, str(value))) if is_file else _text(field, value)
        cells[field.name, repetition] = text
    return cells


def _text(field: FieldDefinition, value: object) -> str:
    if field.type == "timestamp" and isinstance(value, str):
        value = re.sub(r"(\.\d+)?(Z|[+-]\d\d:\d\d)$", "", value)
    text = values.canonical(field.type, value, values.ISO)
    if text and field.type in ("date", "time", "timestamp") and values.sort_key(field.type, text) is None:
        raise ServiceError(400, "8309", f"The value does not fit the type of the field '{field.name}' (9)")
    return text


def _decoded(given: dict[str, Any], name: str, text: str) -> StoredContainerFile:
    kind = str(given.get(name + _FILE_TYPE, "image/png"))
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ServiceError(400, "8309", f"The value of the container '{name}' is not base64 (9)") from None
    return StoredContainerFile(content, str(given.get(name + _FILE_NAME, _untitled(kind))), kind)


def _untitled(kind: str) -> str:
    return f"Untitled{mimetypes.guess_extension(kind.partition(';')[0]) or ''}"


def _named(entities: StoreEntitySet, name: str) -> tuple[FieldDefinition, int]:
    found = _BRACKETS.fullmatch(name)
    field = entities.field(found[1] if found else name)
    repetition = int(found[2]) if found else 1
    if not 1 <= repetition <= field.repetitions:
        raise unknown_field(name)
    return field, repetition
