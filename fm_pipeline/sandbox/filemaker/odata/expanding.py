"""Related rows of a record, for `$expand` and for the path from a record to them.

Source: Claris OData API Guide, "Query option $expand". A relation is a table occurrence of the relationship graph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fm_pipeline.sandbox.filemaker.data.find_requests import Condition
from fm_pipeline.sandbox.filemaker.odata.failures import ServiceError, syntax, unknown_table
from fm_pipeline.sandbox.filemaker.odata.query import fetch, filtered, ordering, selection
from fm_pipeline.sandbox.filemaker.odata.request import ServiceCall
from fm_pipeline.sandbox.filemaker.odata.sets import StoreEntitySet, entity_set

_MOST_ROWS = 10_000
# One relation with its own options: `name` or `name($select=id;$top=5)`
_RELATION = re.compile(r"\s*\"?([^\",()]+?)\"?\s*(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\))?\s*(?:,|$)")


def expanded(call: ServiceCall, entities: StoreEntitySet, number: int) -> dict[str, Any]:
    """Return the related rows of one record, by relation.

    What cannot be had of a relation is in a list of errors inside the row, with HTTP 200, as from real servers
    (proofkit, `responses.ts`).
    """
    text, found = call.options.get("expand", ""), dict[str, Any]()
    while text:
        match = _RELATION.match(text)
        if match is None:
            raise syntax(text)
        text = text[match.end() :]
        try:
            there, base = related(call, entities, match[1], number)
            found[match[1]] = _rows(replace(call, options=_nested(match[2] or "")), there, base)
        except ServiceError as error:
            found.setdefault("error", []).append({"error": {"code": error.code, "message": error.message}})
    return found


def _nested(text: str) -> Mapping[str, str]:
    options = {}
    for part in filter(None, text.split(";")):
        name, _, value = part.strip().partition("=")
        if not name.startswith("$"):
            raise syntax(part)
        options[name[1:].lower()] = value
    return options


def _rows(call: ServiceCall, there: StoreEntitySet, base: Condition) -> list[dict[str, Any]]:
    chosen, condition, (order, _) = selection(call, there), filtered(call, there, base), ordering(call, there)
    top = call.number("top")
    limit = _MOST_ROWS if top is None else top
    with call.engine.store.reading() as db:
        found = fetch(call, db, there, chosen, condition, order, limit, call.number("skip") or 0)
    return [row for _, row in found]


def related(call: ServiceCall, entities: StoreEntitySet, name: str, number: int) -> tuple[StoreEntitySet, Condition]:
    """Return the related set, and the condition of its rows that belong to a record. Raises ServiceError -1010."""
    relation = entities.relations.get(name)
    if relation is None:
        raise unknown_table(name)
    there = entity_set(call.engine, call.database, call.account, name, quoted=True)
    ours, theirs = relation.match
    key = there.table.key(theirs)
    call.engine.store.index(there.table, key)
    sql = f"r.{key} = (SELECT {entities.table.key(ours)} FROM {entities.table.rows} WHERE record_id = ?)"  # noqa: S608
    return there, Condition(sql, (number,))
