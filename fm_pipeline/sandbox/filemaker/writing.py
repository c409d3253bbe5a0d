"""Writes records: create, edit, duplicate, delete."""

from __future__ import annotations

from typing import Any

from fm_pipeline.sandbox.filemaker import scripts
from fm_pipeline.sandbox.filemaker.call import ApiCall, check_names
from fm_pipeline.sandbox.filemaker.cells import current, incoming, keep_globals, stamps, write
from fm_pipeline.sandbox.filemaker.data import container_files
from fm_pipeline.sandbox.filemaker.data.schema import StoredContainerFile
from fm_pipeline.sandbox.filemaker.data.store import StoreTable
from fm_pipeline.sandbox.filemaker.reading import record_id
from fm_pipeline.sandbox.filemaker.related import put_related, take_related
from fm_pipeline.sandbox.filemaker.responses import ApiError

_PARAMETERS = ("fieldData", "portalData", "options", *scripts.PARAMETERS)


def create(call: ApiCall) -> dict[str, Any]:
    """POST …/records. Raises ApiError 102, 201, 500, 501, 1708, and then nothing is written."""
    given, layout = call.body(), call.layout()
    check_names(list(given), (*_PARAMETERS, *_dateformats(call)))
    if "fieldData" not in given:
        raise ApiError(960)
    ends = scripts.check(call, given)
    table = call.engine.store.table(call.database, layout.table)
    related, data = take_related(call, layout, given)
    cells = keep_globals(call, table, incoming(call, layout.fields, table, data, given.get("dateformats")))
    with call.engine.store.transaction() as db:
        db.execute(f"INSERT INTO {table.rows} DEFAULT VALUES")
        made = int(db.execute("SELECT last_insert_rowid()").fetchone()[0])
        write(db, table, made, stamps(call.engine, table, ("creation", "modification")) | cells)
        added = put_related(call, db, table, made, related, given)
    return {"recordId": str(made), "modId": "0", **added, **ends}


def edit(call: ApiCall) -> dict[str, Any]:
    """PATCH …/records/{id}. Raises ApiError as `create`, and 101, 301, 306."""
    given, layout = call.body(), call.layout()
    check_names(list(given), (*_PARAMETERS, "modId", *_dateformats(call)))
    ends = scripts.check(call, given)
    table = call.engine.store.table(call.database, layout.table)
    number = record_id(call)
    related, data = take_related(call, layout, given)
    cells = keep_globals(call, table, incoming(call, layout.fields, table, data, given.get("dateformats")))
    with call.engine.store.transaction() as db:
        mod_id = current(call.engine, db, table, number)
        if "modId" in given and str(given["modId"]) != str(mod_id):
            raise ApiError(306)
        if cells:
            write(db, table, number, stamps(call.engine, table, ("modification",)) | cells)
            mod_id += 1
            db.execute(f"UPDATE {table.rows} SET mod_id = ? WHERE record_id = ?", (mod_id, number))  # noqa: S608
        added = put_related(call, db, table, number, related, given)
    return {"modId": str(mod_id), **added, **ends}


def put_file(
    call: ApiCall, table: StoreTable, field: str, repetition: int, file: StoredContainerFile
) -> dict[str, Any]:
    """Store a file in a container of the record that the URL names. Raises ApiError 101, 201, 301, 306."""
    check_names(list(call.query), ("modId",))
    number = record_id(call)
    if field in call.account_no_access.get(table.name, ()):
        raise ApiError(201)
    with call.engine.store.transaction() as db:
        mod_id = current(call.engine, db, table, number)
        if call.query.get("modId", str(mod_id)) != str(mod_id):
            raise ApiError(306)
        cells = {(field, repetition): container_files.keep(db, file)}
        write(db, table, number, stamps(call.engine, table, ("modification",)) | cells)
        db.execute(f"UPDATE {table.rows} SET mod_id = ? WHERE record_id = ?", (mod_id + 1, number))  # noqa: S608
    return {"modId": str(mod_id + 1)}


def duplicate(call: ApiCall) -> dict[str, Any]:
    """POST …/records/{id}: the same fields in a new record; scripts are named in the body. Raises ApiError 101, 960."""
    given = call.body() if call.raw_body.strip() else {}
    check_names([*given, *call.query], scripts.PARAMETERS)
    ends = scripts.check(call, {**call.query, **given})
    table = call.engine.store.table(call.database, call.layout().table)
    with call.engine.store.transaction() as db:
        number = record_id(call)
        if not db.execute(f"SELECT 1 FROM {table.rows} WHERE record_id = ?", (number,)).fetchone():  # noqa: S608
            raise ApiError(101)
        cells = [(table.column(f.name, n), table.key(f.name, n)) for f, n in table.cells()]
        columns = ", ".join(name for pair in cells for name in pair)
        db.execute(
            f"INSERT INTO {table.rows} ({columns}) SELECT {columns} FROM {table.rows} WHERE record_id = ?",  # noqa: S608
            (number,),
        )
        made = int(db.execute("SELECT last_insert_rowid()").fetchone()[0])
        write(db, table, made, stamps(call.engine, table, ("creation", "modification")))
    return {"recordId": str(made), "modId": "0", **ends}


def delete(call: ApiCall) -> dict[str, Any]:
    """DELETE …/records/{id}. Raises ApiError 101, 301."""
    check_names(list(call.query), scripts.PARAMETERS)
    ends = scripts.check(call, call.query)
    table = call.engine.store.table(call.database, call.layout().table)
    with call.engine.store.transaction() as db:
        number = record_id(call)
        current(call.engine, db, table, number)
        db.execute(f"DELETE FROM {table.rows} WHERE record_id = ?", (number,))  # noqa: S608
    return dict(ends)


def _dateformats(call: ApiCall) -> tuple[str, ...]:
    return ("dateformats",) if call.engine.behaviour.version >= 21 else ()
