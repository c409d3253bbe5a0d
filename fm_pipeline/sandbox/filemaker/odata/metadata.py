"""`$metadata` and the lists of files and entity sets.

Source: OData CSDL 4.01 in XML and JSON; names of FileMaker's annotations as in metadata that published clients keep.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import quoteattr

from starlette.responses import Response

from fm_pipeline.sandbox.filemaker.call import Engine
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline.sandbox.filemaker.odata.cells import EDM_TYPES
from fm_pipeline.sandbox.filemaker.odata.request import ServiceCall, bad_account
from fm_pipeline.sandbox.filemaker.odata.sets import StoreEntitySet, entity_sets

_TERM = "com.filemaker.odata."
_DEFAULTS = {"creation": "CURRENT_TIMESTAMP", "modification": "CURRENT_TIMESTAMP", "uuid": "UUID"}
_READ = "Org.OData.Core.V1.Permission/Read"


def list_databases(engine: Engine, server: str, name: str, password: str) -> dict[str, Any]:
    """Return the body of GET /fmi/odata/v4: the files that the account may open. Raises ServiceError 212."""
    rows = []
    for database in engine.store.databases():
        account = engine.store.account(database, name, password)
        if account and "fmodata" in account.privileges:
            rows.append({"name": database, "kind": "EntityContainer", "url": database})
    if not rows:
        raise bad_account()
    return {"@context": f"{server}/fmi/odata/v4/$metadata", "value": rows}


def list_sets(call: ServiceCall) -> Response:
    """GET {file}: the entity sets."""
    sets = entity_sets(call.engine, call.database, call.account)
    rows = [{"name": name, "kind": "EntitySet", "url": name} for name in sets]
    return call.answer({call.control("context"): f"{call.base}/$metadata", "value": rows})


def describe(call: ServiceCall) -> Response:
    """GET {file}/$metadata, or `$metadata#Set` for one set: XML, or JSON if the request asks for it."""
    sets = entity_sets(call.engine, call.database, call.account)
    _, _, only = call.path.resource.partition("#")
    shown = {name: each for name, each in sets.items() if not only or name == only}
    if "json" in call.accept or call.options.get("format", "").lower().startswith(("json", "application/json")):
        return call.answer(_as_json(call, shown))
    return Response(_as_xml(call, shown), media_type="application/xml;charset=utf-8")


def _engine(call: ServiceCall) -> str:
    return f"OData Engine {call.engine.behaviour.version}.0.2"


def _type(call: ServiceCall, field: FieldDefinition) -> str:
    container = "Edm.Binary" if call.engine.behaviour.version >= 22 else "Edm.Stream"
    return EDM_TYPES.get(field.type, container)


def _annotations(entities: StoreEntitySet, field: FieldDefinition) -> dict[str, str | int | bool]:
    notes: dict[str, str | int | bool] = {"FieldID": f"FMFID:{entities.field_id(field.name)}"}
    if field.is_global:
        notes["Global"] = True
    if field.kind == "calculation":
        notes["Calculation"] = True
    if field.repetitions > 1:
        notes["MaxRepetitions"] = field.repetitions
    if field.auto_enter == "modification":
        notes["VersionID"] = True
    return notes


def _as_json(call: ServiceCall, sets: dict[str, StoreEntitySet]) -> dict[str, Any]:
    schema, content = call.path.database, dict[str, Any]()
    for name, entities in sets.items():
        kind: dict[str, Any] = {"$Kind": "EntityType", "@TableID": f"FMTID:{entities.id}"}
        if entities.key:
            kind["$Key"] = [entities.key.name]
        for field in entities.fields.values():
            notes = {f"@{note}": value for note, value in _annotations(entities, field).items()}
            default = {"$DefaultValue": _DEFAULTS[field.auto_enter]} if field.auto_enter else {}
            nullable = {} if field.unique else {"$Nullable": True}
            kind[field.name] = {**notes, **nullable, **default, "$Type": _type(call, field)}
        for relation in entities.relations:
            kind[relation] = {"$Kind": "NavigationProperty", "$Collection": True, "$Type": f"{schema}.{relation}_"}
        content[f"{name}_"] = kind
    for name in sets:
        content[name] = {"$Kind": "EntitySet", "$Type": f"{schema}.{name}_"}
    return {"$Version": "4.01", "@ServerVersion": _engine(call), schema: content}


def _as_xml(call: ServiceCall, sets: dict[str, StoreEntitySet]) -> str:
    space = f"com.filemaker.odata.{call.database}.fmp12"
    parts = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<edmx:Edmx Version="4.01" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>',
        f'<Schema Namespace={quoteattr(space)} xmlns="http://docs.oasis-open.org/odata/ns/edm">',
        f'<Annotation Term="ServerVersion" String="{_engine(call)}" />',
    ]
    for name, entities in sets.items():
        parts.append(f"<EntityType Name={quoteattr(name + '_')}>")
        parts.append(_annotation(_TERM + "TableID", f"FMTID:{entities.id}"))
        if entities.key:
            parts.append(f"<Key><PropertyRef Name={quoteattr(entities.key.name)} /></Key>")
        parts += [_property(call, entities, field) for field in entities.fields.values()]
        for relation in entities.relations:
            kind = quoteattr(f"Collection({space}.{relation}_)")
            parts.append(f"<NavigationProperty Name={quoteattr(relation)} Type={kind} />")
        parts.append("</EntityType>")
    parts.append(f"<EntityContainer Name={quoteattr(call.database)}>")
    for name, entities in sets.items():
        parts.append(f"<EntitySet Name={quoteattr(name)} EntityType={quoteattr(f'{space}.{name}_')}>")
        for relation in entities.relations:
            parts.append(f"<NavigationPropertyBinding Path={quoteattr(relation)} Target={quoteattr(relation)} />")
        parts.append("</EntitySet>")
    return "\n".join([*parts, "</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>\n"])


def _property(call: ServiceCall, entities: StoreEntitySet, field: FieldDefinition) -> str:
    nullable = ' Nullable="false"' if field.unique else ""
    default = f' DefaultValue="{_DEFAULTS[field.auto_enter]}"' if field.auto_enter else ""
    notes = [_annotation(_TERM + note, value) for note, value in _annotations(entities, field).items()]
    if field.is_global:
        notes.append(f'<Annotation Term="Org.OData.Core.V1.Permissions"><EnumMember>{_READ}</EnumMember></Annotation>')
    head = f'<Property Name={quoteattr(field.name)} Type="{_type(call, field)}"{nullable}{default}>'
    return "\n".join([head, *notes, "</Property>"])


def _annotation(name: str, value: str | int | bool) -> str:
    if isinstance(value, bool):
        return f'<Annotation Term="{name}" Bool="{str(value).lower()}" />'
    return f'<Annotation Term="{name}" {"Int" if isinstance(value, int) else "String"}="{value}" />'
