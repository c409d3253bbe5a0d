"""Rows of an entity set, page by page, and their number.

Source: Claris OData API Guide, "Request records from a table" and "Query options". Each page is a query of its own:
no snapshot is kept.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from starlette.responses import PlainTextResponse, Response

from fm_pipeline.sandbox.filemaker import control
from fm_pipeline.sandbox.filemaker.data.find_requests import Condition
from fm_pipeline.sandbox.filemaker.odata.address import ROOT
from fm_pipeline.sandbox.filemaker.odata.expanding import expanded, related
from fm_pipeline.sandbox.filemaker.odata.failures import syntax
from fm_pipeline.sandbox.filemaker.odata.query import context, count, fetch, filtered, ordering, selection
from fm_pipeline.sandbox.filemaker.odata.records import record_number
from fm_pipeline.sandbox.filemaker.odata.request import ServiceCall
from fm_pipeline.sandbox.filemaker.odata.sets import StoreEntitySet

_SAFE_IN_QUERY = "$'(),=;:@/*"


def list_rows(call: ServiceCall) -> Response:
    """GET {set}: at most 10,000 rows, a next link if there are more.

    Raises:
        ServiceError: -1002 for options that cannot be parsed, 8309 for unknown fields and types that do not fit.
    """
    return page(call, call.named_set(), Condition("1"))


def of_relation(call: ServiceCall) -> Response:
    """GET {set}({key})/{relation}: the related rows, with all query options; with `/$count` behind it their number.

    Raises:
        ServiceError: -1002 if something else follows, -1010, -1023.
    """
    entities = call.named_set()
    relation, *below = call.path.rest
    if below not in ([], ["$count"]):
        raise syntax("/".join(below))
    there, base = related(call, entities, relation, record_number(call, entities))
    return _number(call, there, base) if below else page(call, there, base)


def page(call: ServiceCall, entities: StoreEntitySet, base: Condition) -> Response:
    """Return a page of the rows that meet `base` and the request's options."""
    chosen, condition = selection(call, entities), filtered(call, entities, base)
    order, by_position = ordering(call, entities)
    top, skip = call.number("top"), call.number("skip") or 0
    limit = _limit(call)
    wanted = limit if top is None else min(top, limit)
    shown = condition
    if after := call.number("skiptoken"):
        shown = Condition(f"({condition.sql}) AND r.record_id > ?", (*condition.parameters, after))
    with call.engine.store.reading() as db:
        found = fetch(call, db, entities, chosen, shown, order, wanted + 1, skip)
        total = count(db, entities, condition) if call.options.get("count", "false").lower() == "true" else None
    for number, row in found[:wanted] if "expand" in call.options else ():
        row.update(expanded(call, entities, number))
    rows, more = found[:wanted], len(found) > wanted and (top is None or top > wanted)
    content: dict[str, Any] = {call.control("context"): context(call, entities, chosen)}
    if total is not None:
        content[call.control("count")] = str(total) if call.exact_numbers else total
    content["value"] = [row for _, row in rows]
    if more:
        follow = (rows[-1][0] if rows else 0) if by_position else None
        content[call.control("nextLink")] = _next_link(call, follow, skip + len(rows), top and top - len(rows))
    applied = {"Preference-Applied": f"odata.maxpagesize={limit}"} if _page_size(call) else None
    response = call.answer(content, headers=applied)
    call.engine.counters.pages += 1
    control.between_pages(call.engine, call.database)
    return response


def count_rows(call: ServiceCall) -> Response:
    """GET {set}/$count: a bare number, of the rows that `$filter` names."""
    return _number(call, call.named_set(), Condition("1"))


def _number(call: ServiceCall, entities: StoreEntitySet, base: Condition) -> Response:
    if not call.engine.behaviour.odata.answers_count:
        raise syntax("/$count")
    condition = filtered(call, entities, base)
    with call.engine.store.reading() as db:
        return PlainTextResponse(str(count(db, entities, condition)), headers={"OData-Version": "4.01"})


def _page_size(call: ServiceCall) -> int | None:
    wanted = call.prefers.get("odata.maxpagesize") or call.prefers.get("maxpagesize", "")
    return int(wanted) if re.fullmatch(r"[1-9][0-9]{0,8}", wanted) else None


def _limit(call: ServiceCall) -> int:
    return min(_page_size(call) or call.engine.behaviour.odata.page_limit, call.engine.behaviour.odata.page_limit)


def _next_link(call: ServiceCall, position: int | None, skip: int, top: int | None) -> str:
    """Return the URL of the next page: of the same query, after the last row or without so many rows."""
    behaviour = call.engine.behaviour.odata
    options: dict[str, object] = {k: v for k, v in call.options.items() if k not in ("skip", "skiptoken", "top")}
    if behaviour.links_by == "position" and position is not None:
        options["skiptoken"] = position
    else:
        options["skip"] = skip
    if top is not None:
        options["top"] = top
    query = "&".join(f"${name}={quote(str(value), safe=_SAFE_IN_QUERY)}" for name, value in options.items())
    if behaviour.relative_links:
        below = call.raw_path.removeprefix(ROOT).strip("/").partition("/")[2]
        return f"{below}?{query}"
    return f"{call.server}{call.raw_path}?{query}"
