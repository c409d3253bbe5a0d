"""What a profile adds to the registry: a table of a clinic's own, or further columns of a table that is there.

referral:
  layout: [API_Referrals]
  fields: {filemaker_id: [id], patient: [id_Contact], referred_on: [date]}
  nexus:
    table: referrals
    id: filemaker_id                      # the column with the FileMaker id; or: content
    columns: {patient_id: parent:patient, referred_on: date}

docs/mapping.md, "Add a table", has a whole example and the readers. What Nexus really has is looked at later
(`fm_pipeline.nexus.profile_fit`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr

from fm_pipeline.entities.order import circle
from fm_pipeline.entities.phases import with_phases
from fm_pipeline.entities.registry import ENTITIES, KEY, LOOK_UPS, Entity, Feed, Phase, Registry

CONTENT = "content"  # instead of a column: Nexus keeps no FileMaker id
PLAIN_READERS = ("line", "lines", "date", "timestamp", "number", "boolean")
CHOICES = ("title", "sex", "appointment_status", "message_status", "note_type")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TABLE_AND_COLUMN = re.compile(r"[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}")
# Names of assets and tables that would be there twice.
_TAKEN = {"builds", "outcomes", "findings", "file_links", "entities", "image_files", "records", "extractions"}

Fault = tuple[str, list[str]]
"""What is wrong, and the keys in the profile that lead there."""


def _as_mapping(value: object) -> object:
    """`line` is short for `{reader: line}`."""
    return {"reader": value} if isinstance(value, str) else value


class ColumnMapping(BaseModel):
    """A column that is fed: by which canonical fields, if not by one of its name, and how they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reader: StrictStr
    fields: Annotated[list[StrictStr], Field(min_length=1)] | None = None

    def as_column(self, name: str) -> Feed:
        """For the registry. What a reader names is its field too, where no field is given."""
        kind, _, names = self.reader.partition(":")
        default = names if kind in ("parent", "reference", "lookup") and "." not in names else name
        return Feed(tuple(self.fields or [default]), self.reader)


class NexusMapping(BaseModel):
    """The part `nexus` of an entity in a profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: Annotated[StrictStr, Field(min_length=1)] | None = None
    id: Annotated[StrictStr, Field(min_length=1)] | None = None
    plural: StrictStr | None = None
    model: StrictStr | None = None
    columns: Annotated[dict[StrictStr, Annotated[ColumnMapping, BeforeValidator(_as_mapping)]], Field(min_length=1)]
    defaults: dict[StrictStr, Any] = Field(default_factory=dict)
    same_by: list[StrictStr] | None = None
    unlinked: Literal["delete", "keep"] = "delete"


class Mapped(Protocol):
    """An entity of a profile, as far as it is asked for here."""

    @property
    def fields(self) -> Mapping[str, Any]: ...
    @property
    def nexus(self) -> NexusMapping | None: ...


def registry_of(entities: Mapping[str, Mapped]) -> Registry:
    """The entities of the import sequence, what a profile takes of the others, and what it adds.

    Args:
        entities: of a profile that `faults` finds nothing wrong with.
    """
    registry = {name: entity for name, entity in ENTITIES.items() if not entity.made or name in entities}
    for name, mapping in entities.items():
        if mapping.nexus:
            registry[name] = _entity(name, mapping, mapping.nexus)
    return with_phases(registry)


def _entity(name: str, mapping: Mapped, nexus: NexusMapping) -> Entity:
    columns = {column: each.as_column(column) for column, each in nexus.columns.items()}
    used = frozenset(field for column in columns.values() for field in column.fields)
    if (shipped := ENTITIES.get(name)) is not None:
        values = {each: getattr(shipped, each) for each in Entity.__dataclass_fields__}
        added = {"columns": {**shipped.columns, **columns}, "fields": shipped.fields | used}
        return Entity(**values | added)
    by_content = nexus.id == CONTENT
    if not by_content and nexus.id:
        columns = {nexus.id: Feed(("filemaker_id",), KEY)} | columns
    needed = [column.fields for column in columns.values() if column.kind == "parent"]
    return Entity(
        name,
        nexus.plural or nexus.table or "",
        used | {"filemaker_id"},
        (frozenset({"filemaker_id"}), *map(frozenset, needed)),
        optional=True,
        table=nexus.table or "",
        phase=Phase.NOTES,
        columns=columns,
        defaults=nexus.defaults,
        model=nexus.model or name.replace("_", ""),
        id_column="" if by_content else nexus.id or "",
        by_content=by_content,
        made=True,
        same_by=tuple(nexus.same_by or ()),
        keeps_unlinked=nexus.unlinked == "keep",
    )


def faults(entities: Mapping[str, Mapped]) -> Iterator[Fault]:
    """What is wrong with what a profile adds, as far as can be told without Nexus."""
    tables = {entity.table: entity.name for entity in ENTITIES.values() if entity.table}
    plurals = {entity.plural: entity.name for entity in ENTITIES.values()}
    wrong = False
    for name, mapping in entities.items():
        if not (nexus := mapping.nexus):
            continue
        for fault in (*_wrong_table(name, nexus, tables, plurals), *_wrong_columns(name, nexus, entities)):
            wrong = True
            yield fault
    if wrong:
        return
    registry = registry_of(entities)
    if names := circle(registry):
        yield (
            f"these entities point to each other in a circle: {' → '.join(names)}; take one of the columns out",
            [names[0], "nexus", "columns"],
        )
    for entity in registry.values():
        for parent in entity.parents:
            later = registry[parent.entity].phase if parent.entity in registry else None
            if entity.phase and later and later > entity.phase:
                yield (
                    f"{entity.name} is loaded in phase {int(entity.phase)} and cannot point to {parent.entity}, which"
                    f" is loaded in phase {int(later)}",
                    [entity.name, "nexus", "columns", parent.column],
                )


def _wrong_addition(name: str, nexus: NexusMapping) -> Iterator[Fault]:
    """Yield what is wrong with an addition to an entity that comes with the pipeline."""
    for key in ("table", "id", "plural", "model", "defaults", "same_by"):
        if getattr(nexus, key):
            yield f"{name} comes with the pipeline; only columns can be added", [name, "nexus", key]
    if not ENTITIES[name].table:
        yield f"{name} is not loaded into a table, so it has no columns", [name, "nexus"]


def _wrong_table(name: str, nexus: NexusMapping, tables: dict[str, str], plurals: dict[str, str]) -> Iterator[Fault]:
    if name in ENTITIES:
        yield from _wrong_addition(name, nexus)
        return
    if not _NAME.fullmatch(name):
        yield f"{name} is no name for an entity: small letters, digits and _, at most 40", [name]
    if not nexus.table:
        yield f"{name} needs the Nexus table that it is loaded into", [name, "nexus"]
        return
    if not nexus.id:
        yield f"{name} needs an id: the column with the FileMaker id, or content", [name, "nexus"]
    elif nexus.id in nexus.columns:
        yield f"{nexus.id} is the id, which is read by itself", [name, "nexus", "columns", nexus.id]
    if nexus.same_by and (nexus.id != CONTENT or set(nexus.same_by) - nexus.columns.keys()):
        yield "same_by names columns that are fed, of an entity with `id: content`", [name, "nexus", "same_by"]
    plural = nexus.plural or nexus.table
    if not _NAME.fullmatch(plural) or plural in _TAKEN:
        yield f"{plural} cannot be the plural of {name}: give another one (small letters, digits, _)", [name, "nexus"]
    for used, what in ((tables, nexus.table), (plurals, plural)):
        if what in used:
            yield f"{what} belongs to {used[what]} already", [name, "nexus"]
        used[what] = name


def _wrong_columns(name: str, nexus: NexusMapping, entities: Mapping[str, Mapped]) -> Iterator[Fault]:
    shipped = ENTITIES[name].columns if name in ENTITIES else {}
    for column, mapping in nexus.columns.items():
        path = [name, "nexus", "columns", column]
        kind, _, names = mapping.reader.partition(":")
        if column in shipped:
            yield f"the column {column} of {name} is fed already", path
        if column == "created_at" and mapping.reader != "timestamp":
            yield "created_at is read by timestamp", path
        if kind in ("parent", "reference"):
            if names not in entities:
                yield f"{column} points to {names or 'nothing'}, which is no entity of this profile", path
            elif names in ENTITIES and not ENTITIES[names].table:
                yield f"{column} points to {names}, which is not loaded into a table", path
        elif kind in ("lookup", "choice"):
            known = tuple(LOOK_UPS) if kind == "lookup" else CHOICES
            if names not in known and not (kind == "lookup" and _TABLE_AND_COLUMN.fullmatch(names)):
                yield f"{kind}:{names} is not known; there are {', '.join(f'{kind}:{each}' for each in known)}", path
        elif mapping.reader not in PLAIN_READERS:
            more = "parent:ENTITY, reference:ENTITY, lookup:NAME, lookup:TABLE.COLUMN, choice:NAME"
            yield f"there is no reader {mapping.reader}; there are {', '.join(PLAIN_READERS)}, {more}", path
        two = kind == "lookup" and names == "clinic"
        if len(mapping.fields or ()) > (2 if two else 1):
            yield f"the reader {mapping.reader} reads one field", path
