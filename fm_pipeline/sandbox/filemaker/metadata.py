"""Metadata of the server and of a file: product, databases, layouts, fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fm_pipeline.sandbox.filemaker.call import ApiCall, check_names
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline.sandbox.filemaker.data.store import StoreTable
from fm_pipeline.sandbox.filemaker.responses import ApiError


def product_info(call: ApiCall) -> dict[str, Any]:
    """GET /productInfo: exactly six keys."""
    return {
        "productInfo": {
            "name": "FileMaker Data API Engine",
            "buildDate": "07/05/2019",
            "version": f"{call.engine.behaviour.version}.0.2.217",
            "dateFormat": "MM/dd/yyyy",
            "timeFormat": "HH:mm:ss",
            "timeStampFormat": "MM/dd/yyyy HH:mm:ss",
        }
    }


def databases(call: ApiCall) -> dict[str, Any]:
    """GET /databases."""
    return {"databases": [{"name": name} for name in call.engine.store.databases()]}


def layouts(call: ApiCall) -> dict[str, Any]:
    """GET …/layouts: layouts in folders stand below their folder."""
    rows: list[dict[str, Any]] = []
    folders: dict[str, list[dict[str, Any]]] = {}
    for layout in call.engine.store.layouts(call.database):
        if layout.name in call.engine.faults.missing_layouts:
            continue
        row = {"name": layout.name, "table": layout.table}
        if layout.folder is None:
            rows.append(row)
            continue
        if layout.folder not in folders:
            folders[layout.folder] = []
            inside = {"name": layout.folder, "isFolder": True, "folderLayoutNames": folders[layout.folder]}
            rows.append(inside)
        folders[layout.folder].append(row)
    return {"layouts": rows}


def layout(call: ApiCall) -> dict[str, Any]:
    """GET …/layouts/{layout}. Raises ApiError 105."""
    check_names(list(call.query), ("recordId",))
    shown = call.layout()
    fields, portals = _describe(call, shown.table, shown.fields, shown.repetitions), {}
    for portal in shown.portals:
        names = [f"{portal.occurrence}::{name}" for name in portal.fields]
        portals[portal.key] = _describe(call, shown.table, names)
    return {"fieldMetaData": fields, "portalMetaData": portals}


def legacy_layout(call: ApiCall) -> dict[str, Any]:
    """GET …/layouts/{layout}/metadata, the form of version 17. Raises ApiError 105."""
    return {"metaData": layout(call)["fieldMetaData"]}


def _describe(
    call: ApiCall, base: str, names: Sequence[str], repetitions: Mapping[str, int] = MappingProxyType({})
) -> list[dict[str, Any]]:
    store = call.engine.store
    own, tables = store.table(call.database, base), dict[str, StoreTable]()
    described = []
    for name in names:
        path, _, plain = name.rpartition("::")
        if path not in tables:
            there = own
            for occurrence in filter(None, path.split("::")):
                there = store.table(
                    call.database, store.occurrence(call.database, there.name, occurrence).related_table
                )
            tables[path] = there
        field = tables[path].fields.get(plain)
        if field is None:
            raise ApiError(102)
        # A field of a table further on is called after its own occurrence only.
        shown = repetitions.get(name, field.repetitions)
        described.append(_field("::".join(name.split("::")[-2:]), field, shown))
    return described


def _field(name: str, field: FieldDefinition, shown: int) -> dict[str, Any]:
    return {
        "name": name,
        "type": field.kind,
        "displayType": "editText",
        "result": "timeStamp" if field.type == "timestamp" else field.type,
        "global": field.is_global,
        "autoEnter": field.auto_enter is not None,
        "fourDigitYear": False,
        "maxRepeat": field.repetitions,
        "maxCharacters": 0,
        "notEmpty": field.unique,
        "numeric": False,
        "timeOfDay": False,
        "repetitionStart": 1,
        "repetitionEnd": shown,
    }
