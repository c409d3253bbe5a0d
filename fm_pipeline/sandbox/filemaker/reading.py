"""Reads records: one, a range, or a found set; sorted, paged, with portals."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from fm_pipeline.sandbox.filemaker import scripts
from fm_pipeline.sandbox.filemaker.call import ApiCall, check_names, positive
from fm_pipeline.sandbox.filemaker.data.find_requests import Condition, FindColumn, FindContext, criterion, whole_query
from fm_pipeline.sandbox.filemaker.data.schema import LayoutDefinition
from fm_pipeline.sandbox.filemaker.data.store import StoreTable
from fm_pipeline.sandbox.filemaker.data.views import PortalWindow, ResponseContext, View, related_key
from fm_pipeline.sandbox.filemaker.faults import broken_json
from fm_pipeline.sandbox.filemaker.responses import ApiError

_COMMON = ("portal", "layout.response", *scripts.PARAMETERS)
_EVERY_RECORD = Condition("1")


def get_records(call: ApiCall) -> dict[str, Any]:
    """GET …/records. Raises ApiError, for example 101 if `_offset` is beyond the last record."""
    allowed = ("_offset", "_limit", "_sort", *_COMMON, *_dateformats(call, 20))
    check_names(list(call.query), allowed, ("_offset.", "_limit."))
    given = {name.removeprefix("_"): value for name, value in call.query.items()}
    for name in ("sort", "portal"):
        if name in given:
            given[name] = _json(given[name])
    return _records(call, given, None)


def find(call: ApiCall) -> dict[str, Any]:
    """POST …/_find. Raises ApiError, for example 401 when nothing matches."""
    given = call.body()
    allowed = ("query", "offset", "limit", "sort", *_COMMON, *_dateformats(call, 20))
    check_names(list(given), allowed, ("offset.", "limit."))
    if "query" not in given:
        raise ApiError(960)
    return _records(call, given, given["query"])


def get_record(call: ApiCall) -> dict[str, Any]:
    """GET …/records/{id}. Raises ApiError 101."""
    allowed = (*_COMMON, *_dateformats(call, 20))
    check_names(list(call.query), allowed, ("_offset.", "_limit."))
    given: dict[str, Any] = {name.removeprefix("_"): value for name, value in call.query.items()}
    if "portal" in given:
        given["portal"] = _json(given["portal"])
    ends = scripts.check(call, given)
    asked = call.layout()
    view = _view(call, given, asked)
    one = Condition("r.record_id = ?", (record_id(call),))
    with call.engine.store.reading() as db:
        rows = view.rows(db, one, "", 1, 0)
        total = _count(db, view.table, _EVERY_RECORD)
    if not rows:
        raise ApiError(101)
    return {**_info(call, view, total, 1, len(rows)), "data": _broken(call, view, rows), **ends}


def record_id(call: ApiCall) -> int:
    """Return the record id of the URL. Raises ApiError 101 if it is no number."""
    text = call.path["record"]
    if not re.fullmatch(r"\d{1,18}", text):
        raise ApiError(101)
    return int(text)


def _records(call: ApiCall, given: Mapping[str, Any], query: object) -> dict[str, Any]:
    asked = call.layout()
    offset, limit = positive(given.get("offset"), 1), positive(given.get("limit"), 100)
    ends = scripts.check(call, given)
    view = _view(call, given, asked)
    condition = _EVERY_RECORD if query is None else _query(call, view, asked, query, given)
    condition = _visible(call, view.table, condition)
    order = _order(call, view, asked, given.get("sort"))
    with call.engine.store.reading() as db:
        total = _count(db, view.table, _EVERY_RECORD)
        found = _count(db, view.table, condition)
        if query is not None and found == 0:
            raise ApiError(401)
        if offset > found and (found > 0 or "offset" in given):
            # Clients that page through a found set take 401, and only 401, as its end.
            raise ApiError(101 if query is None else 401)
        rows = view.rows(db, condition, order, limit, offset - 1)
    return {**_info(call, view, total, found, len(rows)), "data": _broken(call, view, rows), **ends}


def _broken(call: ApiCall, view: View, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the marks of the fault `broken_values`."""
    if broken := call.engine.faults.broken_values:
        for row in rows:
            number = int(row["recordId"])
            row["fieldData"] = broken_json.marked(broken, "data_api", view.table.name, number, row["fieldData"])
    return rows


def _info(call: ApiCall, view: View, total: int, found: int, returned: int) -> dict[str, Any]:
    if call.engine.behaviour.version < 18:
        return {}
    info = {"database": call.database, "layout": view.layout.name, "table": view.table.name}
    counts = {"totalRecordCount": total, "foundCount": found, "returnedCount": returned}
    return {"dataInfo": {**info, **counts}}


def _view(call: ApiCall, given: Mapping[str, Any], asked: LayoutDefinition) -> View:
    shown = call.layout(str(given["layout.response"])) if given.get("layout.response") else asked
    if shown.table != asked.table:
        raise ApiError(105)
    page = ResponseContext(
        store=call.engine.store,
        database=call.database,
        dateformat=call.dateformat(given.get("dateformats")),
        locale=call.engine.store.locale(call.database),
        no_access=call.account_no_access,
        container=call.container_value,
        global_values=call.session.global_values if call.session else {},
    )
    return View(page, shown, _portal_windows(call, given, shown))


def _portal_windows(call: ApiCall, given: Mapping[str, Any], layout: LayoutDefinition) -> dict[str, PortalWindow]:
    """Return the portals to show, each with first row and limit. v1 shows one row unless the layout is a form."""
    names = [portal.key for portal in layout.portals]
    wanted = given.get("portal", names)
    if not isinstance(wanted, list) or not all(isinstance(each, str) and each in names for each in wanted):
        raise ApiError(960)
    asked = [name.partition(".")[2] for name in given if name.startswith(("offset.", "limit."))]
    if not set(asked) <= set(names):
        raise ApiError(960)
    most = 1 if call.version == "v1" and layout.view != "form" else None
    windows = {}
    for name in wanted:
        limit = positive(given.get(f"limit.{name}"), 50)
        windows[name] = PortalWindow(positive(given.get(f"offset.{name}"), 1), most or limit)
    return windows


def _query(call: ApiCall, view: View, asked: LayoutDefinition, query: object, given: Mapping[str, Any]) -> Condition:
    reading = FindContext(call.dateformat(given.get("dateformats")), view.page.locale, call.engine.clock.now().date())

    def condition_for(name: str, wanted: str) -> Condition:
        return _field_condition(call, view.table, asked, name, wanted, reading)

    return whole_query(query, condition_for)


def _field_condition(
    call: ApiCall, table: StoreTable, layout: LayoutDefinition, name: str, wanted: str, reading: FindContext
) -> Condition:
    store = call.engine.store
    if "::" in name:
        occurrence_name, _, name = name.partition("::")
        try:
            occurrence = store.occurrence(call.database, table.name, occurrence_name)
            related = store.table(call.database, occurrence.related_table)
        except KeyError:
            raise ApiError(102) from None
        inner = _any_repetition(call, related, "o", name, wanted, reading)
        join = f"o.{related_key(store, related, occurrence.match[1])} = r.{table.key(occurrence.match[0])}"
        return Condition(
            f"EXISTS (SELECT 1 FROM {related.rows} o WHERE {join} AND {inner.sql})",  # noqa: S608
            inner.parameters,
        )
    if name not in layout.fields and not call.engine.behaviour.finds_fields_off_layout:
        raise ApiError(102)
    if name in call.engine.faults.missing_fields.get(layout.name, ()):
        raise ApiError(102)
    return _any_repetition(call, table, "r", name, wanted, reading)


def _any_repetition(
    call: ApiCall, table: StoreTable, alias: str, name: str, wanted: str, reading: FindContext
) -> Condition:
    base, repetition = _repetition(table, name)
    if base in call.account_no_access.get(table.name, ()):
        return Condition("0")
    field = table.fields[base]
    numbers = [repetition] if repetition else range(1, field.repetitions + 1)
    parts = []
    for n in numbers:
        key = table.key(base, n)
        column = FindColumn(field.type, table.rows, alias, table.column(base, n), key)
        part = criterion(column, wanted, reading)
        if part.compares:
            call.engine.store.index(table, key)
        parts.append(part)
    sql = "(" + " OR ".join(part.sql for part in parts) + ")"
    return Condition(sql, tuple(p for part in parts for p in part.parameters))


def _repetition(table: StoreTable, name: str) -> tuple[str, int | None]:
    """Parse `name` or `name(2)` into field and repetition. Raises ApiError 102."""
    if name in table.fields:
        return name, None
    found = re.fullmatch(r"(.+)\((\d+)\)", name)
    if found and found[1] in table.fields and 1 <= int(found[2]) <= table.fields[found[1]].repetitions:
        return found[1], int(found[2])
    raise ApiError(102)


def _order(call: ApiCall, view: View, asked: LayoutDefinition, sort: object) -> str:
    if sort is None or sort == []:
        return ""
    if not isinstance(sort, list) or not all(isinstance(one, dict) for one in sort):
        raise ApiError(960)
    parts = []
    for one in sort:
        check_names(list(one), ("fieldName", "sortOrder"))
        name, direction = one.get("fieldName"), one.get("sortOrder", "ascend")
        if direction not in ("ascend", "descend"):
            raise ApiError(960)
        if name not in asked.fields and name not in view.layout.fields:
            raise ApiError(102)
        base, repetition = _repetition(view.table, str(name))
        key = view.table.key(base, repetition or 1)
        call.engine.store.index(view.table, key)
        parts.append(f"r.{key} {'DESC' if direction == 'descend' else 'ASC'}")
    return ", ".join(parts) + ", "


def _count(db: sqlite3.Connection, table: StoreTable, condition: Condition) -> int:
    sql = f"SELECT count(*) FROM {table.rows} r WHERE {condition.sql}"  # noqa: S608 - values are parameters
    return int(db.execute(sql, condition.parameters).fetchone()[0])


def _visible(call: ApiCall, table: StoreTable, condition: Condition) -> Condition:
    """Return the condition without the records that the account may not see."""
    hidden = call.engine.faults.hidden_records.get(table.name, ())
    if not hidden:
        return condition
    marks = ", ".join("?" * len(hidden))
    return Condition(f"({condition.sql}) AND r.record_id NOT IN ({marks})", (*condition.parameters, *hidden))


def _dateformats(call: ApiCall, since: int) -> Sequence[str]:
    return ("dateformats",) if call.engine.behaviour.version >= since else ()


def _json(text: object) -> Any:
    try:
        return json.loads(str(text))
    except ValueError:
        raise ApiError(960) from None
