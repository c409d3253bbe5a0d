"""One record by its key, one of its fields, and the raw value of a field: a container's file.

Source: Claris OData API Guide, "Request an individual record", "Request field value", "Request field value (binary)".
"""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from fm_pipeline.sandbox.filemaker.data import container_files, values
from fm_pipeline.sandbox.filemaker.data.find_requests import Condition
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline.sandbox.filemaker.faults import broken_json
from fm_pipeline.sandbox.filemaker.odata.cells import writer
from fm_pipeline.sandbox.filemaker.odata.expanding import expanded
from fm_pipeline.sandbox.filemaker.odata.failures import no_record, syntax, unknown_field
from fm_pipeline.sandbox.filemaker.odata.query import Selection, fetch, filtered, selection
from fm_pipeline.sandbox.filemaker.odata.request import ServiceCall
from fm_pipeline.sandbox.filemaker.odata.sets import StoreEntitySet

_ROW_ID = re.compile(r"\s*ROWID\s*=\s*(\d{1,18})\s*")
_BRACKETS = re.compile(r"(.+)\[(\d{1,4})\]")


def one_record(call: ServiceCall) -> Response:
    """GET {set}({key}). Raises ServiceError -1023 if there is no such record."""
    entities = call.named_set()
    chosen = selection(call, entities)
    return call.answer(record_content(call, entities, chosen, record_number(call, entities)))


def record_content(call: ServiceCall, entities: StoreEntitySet, chosen: Selection, number: int) -> dict[str, Any]:
    """Return the JSON object of one record. Raises ServiceError -1023."""
    with call.engine.store.reading() as db:
        rows = fetch(call, db, entities, chosen, Condition("r.record_id = ?", (number,)), "r.record_id", 1, 0)
    if not rows:
        raise no_record()
    more = expanded(call, entities, number) if "expand" in call.options else {}
    return {call.control("context"): f"{call.base}/$metadata#{entities.name}/$entity", **rows[0][1], **more}


def record_number(call: ServiceCall, entities: StoreEntitySet) -> int:
    """Return the record id that the key of the URL means.

    A number key may be written in quotes. The apostrophe inside a text key may be doubled or not.

    Raises:
        ServiceError: -1002 for a key that does not fit the set's key, -1023 if there is no such record.
    """
    given, named = call.path.key or "", replace(call, options={})  # a filter is one of related rows
    if found := _ROW_ID.fullmatch(given):
        conditions = [Condition("r.record_id = ?", (int(found[1]),))]
    else:
        conditions = _key_conditions(entities, given)
    with call.engine.store.reading() as db:
        for condition in conditions:
            visible = filtered(named, entities, condition)
            sql = f"SELECT r.record_id FROM {entities.table.rows} r WHERE {visible.sql} ORDER BY 1 LIMIT 1"  # noqa: S608
            if row := db.execute(sql, visible.parameters).fetchone():
                return int(row[0])
    raise no_record()


def _key_conditions(entities: StoreEntitySet, given: str) -> list[Condition]:
    key = entities.key
    quoted = len(given) > 1 and given[0] == given[-1] == "'"
    if key is None or (not quoted and key.type != "number"):
        raise syntax(f"({given})")
    text = given[1:-1] if quoted else given
    column, sort_key = entities.table.column(key.name), entities.table.key(key.name)
    if key.type == "number":
        return [Condition(f"r.{sort_key} = ?", (values.numeric_part(text),))]
    exact = f"r.{sort_key} = ? AND r.{column} = ?"
    spelled = dict.fromkeys([text.replace("''", "'"), text])
    return [Condition(exact, (values.sort_key(key.type, each), each)) for each in spelled]


def one_field(call: ServiceCall) -> Response:
    """GET {set}({key})/{field}: its value; a list if it has repetitions.

    In version 22 and later, `{field}[2]` and `{field}/2` give one repetition, and a container comes in base64.
    """
    entities = call.named_set()
    field, repetition = _field(call, entities)
    number = record_number(call, entities)
    repetitions = [repetition] if repetition else range(1, field.repetitions + 1)
    cells = [_stored(call, entities, field, number, n) for n in repetitions]
    found: list[Any]
    if field.type == "container":
        if call.engine.behaviour.version < 22:
            raise unknown_field(field.name)
        found = [_in_base64(call, text) for text in cells]
    else:
        found = [writer(field.type, call.exact_numbers)(text) for text in cells]
    value: Any = found if len(found) > 1 else found[0]
    broken = call.engine.faults.broken_values
    content = broken_json.marked(broken, "odata", entities.table.name, number, {field.name: value})
    where = f"{call.base}/$metadata#{quote(entities.name)}({call.path.key})/{field.name}"
    return call.answer({call.control("context"): where, "value": content[field.name]})


def raw_value(call: ServiceCall) -> Response:
    """GET {set}({key})/{field}/$value: text, or the file of a container.

    A container answers `Accept: application/octet-stream` with the file's name as text, as field reports say.
    """
    entities = call.named_set()
    field, repetition = _field(call, entities)
    number = record_number(call, entities)
    text = _stored(call, entities, field, number, repetition or 1)
    if field.type != "container" or not container_files.is_key(text):
        if not text:
            status = call.engine.behaviour.odata.empty_container if field.type == "container" else 204
            if status == 404:
                raise no_record()
            return Response(status_code=status)
        shown = writer(field.type, True)(text) if field.type != "container" else text
        return Response(str(shown), media_type="text/plain;charset=utf-8")
    with call.engine.store.reading() as db:
        file = container_files.read(db, text, with_content=True)
    if call.accept == "application/octet-stream":
        return Response(file.name, media_type="text/plain;charset=utf-8")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}"}
    return Response(file.content, 200, headers, media_type=file.mime)


def _in_base64(call: ServiceCall, text: str) -> str | None:
    if not container_files.is_key(text):
        return None
    with call.engine.store.reading() as db:
        return base64.b64encode(container_files.read(db, text, with_content=True).content).decode("ascii")


def _field(call: ServiceCall, entities: StoreEntitySet) -> tuple[FieldDefinition, int | None]:
    name, *more = call.path.rest
    if more[-1:] == ["$value"]:
        more.pop()
    repetition = None
    if found := _BRACKETS.fullmatch(name):
        name, repetition = found[1], int(found[2])
    elif more and re.fullmatch(r"\d{1,4}", more[0]):
        repetition = int(more.pop(0))
    if more:
        raise syntax("/".join(more))
    field = entities.field(name)
    if repetition is not None and (call.engine.behaviour.version < 22 or not 1 <= repetition <= field.repetitions):
        raise unknown_field("/".join(call.path.rest))
    return field, repetition


def _stored(call: ServiceCall, entities: StoreEntitySet, field: FieldDefinition, number: int, repetition: int) -> str:
    column = entities.table.column(field.name, repetition)
    with call.engine.store.reading() as db:
        row = db.execute(f"SELECT {column} FROM {entities.table.rows} WHERE record_id = ?", (number,)).fetchone()  # noqa: S608
    if row is None:
        raise no_record()
    return str(row[0])
