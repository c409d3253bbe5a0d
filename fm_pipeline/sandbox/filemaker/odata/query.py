"""The parts of a query on an entity set: its columns, condition and order; and the rows that it finds.

Containers are never in rows, and of a repeating field the first repetition only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fm_pipeline.sandbox.filemaker.data.find_requests import Condition
from fm_pipeline.sandbox.filemaker.faults import broken_json
from fm_pipeline.sandbox.filemaker.odata.cells import ROW_COLUMNS, term, writer
from fm_pipeline.sandbox.filemaker.odata.failures import syntax
from fm_pipeline.sandbox.filemaker.odata.filters import compile_filter
from fm_pipeline.sandbox.filemaker.odata.request import ServiceCall
from fm_pipeline.sandbox.filemaker.odata.sets import StoreEntitySet
from fm_pipeline.sandbox.filemaker.odata.tokens import words


@dataclass(frozen=True)
class Selection:
    """The columns of a response: name, SQLite column, how its text is written. `named` are the names of `$select`."""

    columns: Sequence[tuple[str, str, Callable[[Any], Any]]]
    named: Sequence[str]


def selection(call: ServiceCall, entities: StoreEntitySet) -> Selection:
    """Return the columns that the request asks for; without `$select` all fields. Raises ServiceError 8309."""
    asked = _names(call.options.get("select", ""))
    special = not asked and "fmodata.include-specialcolumns" in call.prefers
    everything = not asked or asked == ["*"]
    names = [*(ROW_COLUMNS if special else ()), *entities.fields] if everything else asked
    columns: list[tuple[str, str, Callable[[Any], Any]]] = []
    for name in dict.fromkeys(names):
        if name in ROW_COLUMNS:
            columns.append((name, ROW_COLUMNS[name], int))
            continue
        field = entities.field(name)
        if field.type != "container":
            shown = f"FMFID:{entities.field_id(field.name)}" if "fmodata.entity-ids" in call.prefers else field.name
            columns.append((shown, entities.table.column(field.name), writer(field.type, call.exact_numbers)))
    return Selection(columns, [] if everything else names)


def _names(text: str) -> list[str]:
    """Parse the list of `$select`."""
    names: list[str] = []
    tokens = words(text)
    for at, token in enumerate(tokens[:-1]):
        is_comma = token.kind == "mark" and token.value == ","
        if (at % 2 == 1) != is_comma or (not is_comma and token.kind not in ("word", "name") and token.value != "*"):
            raise syntax(token.rest)
        if not is_comma:
            names.append(token.value)
    if len(tokens) > 1 and len(tokens) % 2 == 1:
        raise syntax(text)
    return names


def filtered(call: ServiceCall, entities: StoreEntitySet, base: Condition) -> Condition:
    """Return the condition of the rows that exist for this request. Raises ServiceError -1002, 8309, 8310."""
    sql, parameters = base.sql, base.parameters
    hidden = call.engine.faults.hidden_records.get(entities.table.name, ())
    if hidden:
        sql = f"{sql} AND r.record_id NOT IN ({', '.join(str(int(each)) for each in hidden)})"
    if "filter" in call.options:
        wanted = compile_filter(call.options["filter"], lambda name: term(entities, name), call.engine.clock.now())
        sql, parameters = f"{sql} AND {wanted.sql}", (*parameters, *wanted.parameters)
    return Condition(sql, parameters)


def ordering(call: ServiceCall, entities: StoreEntitySet) -> tuple[str, bool]:
    """Return ORDER BY, which ends with the record id, and whether rows come in the order of ROWID.

    Raises:
        ServiceError: -1002, 8309.
    """
    tokens, at, parts = words(call.options.get("orderby", "")), 0, list[str]()
    while tokens[at].kind != "end":
        if tokens[at].kind not in ("word", "name"):
            raise syntax(tokens[at].rest)
        column = term(entities, tokens[at].value)
        direction = tokens[at + 1].value if tokens[at + 1].kind == "word" else None
        if direction not in (None, "asc", "desc"):
            raise syntax(tokens[at + 1].rest)
        parts.append(f"{column.key or column.sql} {'DESC' if direction == 'desc' else 'ASC'}")
        at += 1 if direction is None else 2
        if tokens[at].kind == "mark" and tokens[at].value == "," and tokens[at + 1].kind != "end":
            at += 1
        elif tokens[at].kind != "end":
            raise syntax(tokens[at].rest)
    return ", ".join([*parts, "r.record_id"]), not parts or parts[0] == "r.record_id ASC"


def fetch(
    call: ServiceCall,
    db: sqlite3.Connection,
    entities: StoreEntitySet,
    chosen: Selection,
    condition: Condition,
    order: str,
    limit: int,
    skip: int,
) -> list[tuple[int, dict[str, Any]]]:
    """Return rows with their record ids, as JSON objects."""
    key = entities.key
    key_column = entities.table.column(key.name) if key else "record_id"
    columns = dict.fromkeys(["record_id", key_column, *(column for _, column, _ in chosen.columns)])
    sql = (
        f"SELECT {', '.join(f'r.{column}' for column in columns)} FROM {entities.table.rows} r "  # noqa: S608
        f"WHERE {condition.sql} ORDER BY {order} LIMIT ? OFFSET ?"
    )
    rows = []
    links = "metadata=none" not in call.accept
    broken = call.engine.faults.broken_values
    start = f"{call.base}/{quote(entities.name)}"
    quotes = "'" if key is not None and key.type != "number" else ""
    for row in db.execute(sql, (*condition.parameters, limit, skip)):
        cells = {name: write(row[column]) for name, column, write in chosen.columns}
        if broken:
            cells = broken_json.marked(broken, "odata", entities.table.name, row["record_id"], cells)
        if links:
            value = quote(str(row[key_column]).replace("'", "''")) if key else f"ROWID={row['record_id']}"
            url = f"{start}({quotes}{value}{quotes})"
            cells = {call.control("id"): url, call.control("editLink"): url, **cells}
        rows.append((int(row["record_id"]), cells))
    return rows


def count(db: sqlite3.Connection, entities: StoreEntitySet, condition: Condition) -> int:
    """Return the number of rows that meet a condition."""
    sql = f"SELECT count(*) FROM {entities.table.rows} r WHERE {condition.sql}"  # noqa: S608
    return int(db.execute(sql, condition.parameters).fetchone()[0])


def context(call: ServiceCall, entities: StoreEntitySet, chosen: Selection) -> str:
    """Return the context of a list: the set, and the names of `$select`."""
    named = ",".join(f'"{name}"' for name in chosen.named)
    return f"{call.base}/$metadata#{entities.name}" + (f"({named})" if named else "")
