"""Checks the tables and columns that a profile adds against PostgreSQL's catalogue.

One STOP names everything that does not fit this release of Nexus. Tables that come with the pipeline and that a release
does not have are left out, and reported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.table import Column, Table
from fm_pipeline.entities.order import generations
from fm_pipeline.entities.registry import CONTACT_DETAIL, ENTITIES, Entity, Feed, Registry, looked_up_in
from fm_pipeline.errors import CatalogueStop
from fm_pipeline.nexus.catalogue.schema import Catalogue
from fm_pipeline.nexus.table_names import (
    BATCHES,
    CONTENT_TYPES,
    DOCUMENTS,
    IMAGES,
    LETTERS,
    REMINDERS,
    SYSTEM_CONFIGURATION,
)

_TEXT = {"character varying", "character", "text", "citext"}
# Reader -> the types that it fills, without their length.
_TYPES: Mapping[str, set[str]] = {
    "line": _TEXT,
    "lines": _TEXT,
    "choice": _TEXT,
    "key": {"uuid", *_TEXT},
    "date": {"date"},
    "timestamp": {"timestamp with time zone"},
    "number": {"smallint", "integer", "bigint", "numeric", "real", "double precision"},
    "boolean": {"boolean"},
    "parent": {"uuid"},
    "reference": {"uuid"},
    "lookup": {"uuid"},
}
_LENGTH = re.compile(r"\([\d,]+\)")
# Tables that a reimport must not change, clears, or relinks.
_TAKEN = (*SYSTEM_CONFIGURATION, DOCUMENTS, BATCHES, IMAGES, LETTERS, REMINDERS, CONTENT_TYPES, "auth_user")
# Columns that the transaction writes itself, and those that a staged table has for itself.
_RESERVED = {"id", "updated_at", "nexus_id", "record_id", "filemaker_key", "source_created_at", "filemaker_metadata"}
_LONGEST_NAME = 50  # PostgreSQL cuts names at 63 bytes, and temporary tables are named after these
WRITTEN = {"id", "created_at", "updated_at"}  # by the transaction itself


@dataclass(frozen=True)
class FittedRegistry:
    """A registry that fits the database.

    Attributes:
        left_out: sentences about what is left out, by entity; an entity that is not in the registry is left out
            completely.
    """

    registry: Registry
    left_out: Mapping[str, list[str]] = field(default_factory=dict)


def fit_registry(cursor: Cursor, catalogue: Catalogue, registry: Registry) -> FittedRegistry:
    """Check a profile's registry against the catalogue.

    Args:
        cursor: for the defaults, whose values PostgreSQL is asked to read; nothing is written.
        registry: of the profile; what is shipped and not added to is not looked at here.

    Raises:
        CatalogueStop: names every table and column that does not fit, and what to do.
    """
    fitted: dict[str, Entity] = {}
    left_out: dict[str, list[str]] = {}
    faults: list[str] = []
    for entity in [each for generation in generations(registry) for each in generation]:
        if entity == ENTITIES.get(entity.name) and not entity.made:
            fitted[entity.name] = entity
            continue
        words, there = left_out.setdefault(entity.name, []), entity
        if entity.if_there:
            missing = _missing(catalogue, entity, fitted)
            words += missing.values()
            if None in missing:
                continue
            there = replace(entity, columns={n: c for n, c in entity.columns.items() if n not in missing})
        absent = [p for p in there.parents if p.entity not in fitted]
        faults += [f"{entity.name}: {p.column} points to {p.entity}, which is left out" for p in absent]
        wrong = [] if absent else list(_faults(cursor, catalogue, there, registry))
        if wrong and entity.if_there:
            words += [f"{fault}; {entity.name} is left out." for fault in wrong]
            continue
        faults += wrong
        fitted[entity.name] = there
    if faults:
        raise CatalogueStop(
            "The mapping profile does not fit this release of Nexus: " + "; ".join(faults) + ".",
            meaning="Nothing was changed.",
            remedy='Correct the profile (docs/mapping.md, "Add a table"; psql: \\d TABLE shows the columns).',
        )
    in_order = [*registry, *fitted]
    if CONTACT_DETAIL in registry:
        fitted[CONTACT_DETAIL] = registry[CONTACT_DETAIL]
    names = sorted(fitted, key=in_order.index)
    return FittedRegistry(
        {name: fitted[name] for name in names}, {name: words for name, words in left_out.items() if words}
    )


def _missing(catalogue: Catalogue, entity: Entity, fitted: Registry) -> dict[str | None, str]:
    """Return sentences about missing columns of a shipped entity, by column; the key None means the whole entity."""
    schema = catalogue.schema
    if not catalogue.has(entity.table):
        return {None: f"{entity.name} is left out: the schema {schema} has no table {entity.table}."}
    columns, missing = catalogue.columns[catalogue.table(entity.table)], dict[str | None, str]()
    for name in entity.columns:
        if name not in columns:
            missing[name] = f"{entity.table}.{name} is left out: the table has no such column."
    for parent in entity.parents:
        if parent.needed and (parent.entity not in fitted or parent.column in missing):
            return {None: f"{entity.name} is left out: it needs {parent.entity} ({entity.table}.{parent.column})."}
        if parent.entity not in fitted:
            missing[parent.column] = f"{entity.table}.{parent.column} is left out: so is {parent.entity}."
    return missing


def _faults(cursor: Cursor, catalogue: Catalogue, entity: Entity, registry: Registry) -> Iterator[str]:
    """Yield what does not fit in an entity, as parts of a sentence."""
    table, name = catalogue.table(entity.table), entity.name
    if not catalogue.has(entity.table):
        yield f"{name}: the schema {catalogue.schema} has no table {entity.table}"
        return
    columns = catalogue.columns[table]
    shipped = ENTITIES[name].columns if name in ENTITIES and not entity.made else {}
    if entity.made:
        if entity.table in _TAKEN:
            yield f"{name}: a reimport must not load the table {entity.table}"
        if len(entity.table) > _LONGEST_NAME:
            yield f"{name}: the name of the table {entity.table} is longer than {_LONGEST_NAME} characters"
        if "id" not in columns or columns["id"].type != "uuid":
            yield f"{name}: the table {entity.table} has no column id of the type uuid"
        yield from (
            f"{name}: nothing feeds {entity.table}.{each.name}, which is NOT NULL and has no default; map a field to"
            " it, or give it a value under defaults"
            for each in columns.values()
            if each.must_be_given and each.name not in {*entity.columns, *entity.defaults, *WRITTEN}
        )
        yield from _wrong_defaults(cursor, columns, entity)
    for column, source in entity.columns.items():
        if column not in shipped:
            yield from (f"{name}: {fault}" for fault in _wrong_column(catalogue, table, column, source, registry))


def _wrong_column(catalogue: Catalogue, table: Table, name: str, source: Feed, registry: Registry) -> Iterator[str]:
    """Yield what is wrong with a column that is fed."""
    column = catalogue.columns[table].get(name)
    where = f"{table.name}.{name}"
    if column is None:
        yield f"the table {table.name} has no column {name}"
        return
    if name in _RESERVED or "%" in name:
        yield f"{where} cannot be fed: the pipeline writes a column of this name itself"
    if column.generated:
        yield f"{where} cannot be fed: PostgreSQL computes it"
    if _LENGTH.sub("", column.type).rpartition(".")[2] not in _TYPES[source.kind]:
        yield f"the reader {source.reader} cannot fill {where}, which is {column.type}"
    if source.kind == "reference" and column.must_be_given:
        yield f"{where} is NOT NULL, so that its reader must be parent:{source.names}, not {source.reader}"
    referred = {key.references.name for key in catalogue.foreign_keys if key.table == table and key.columns == (name,)}
    given = ""
    if source.kind in {"parent", "reference"}:
        given = registry[source.names].table
    elif source.kind == "lookup":
        given, of_names = looked_up_in(source.names)
        yield from _wrong_look_up(catalogue, source.reader, given, of_names, registry)
    if referred and not given:
        yield f"{where} points to {', '.join(sorted(referred))}: read it by parent:, reference: or lookup:"
    elif referred and given not in referred:
        yield f"{where} points to {', '.join(sorted(referred))}, but {source.reader} gives ids of {given}"


def _wrong_look_up(catalogue: Catalogue, reader: str, table: str, column: str, registry: Registry) -> Iterator[str]:
    """What is wrong with the table that names are looked up in."""
    columns = catalogue.columns.get(catalogue.table(table), {})
    if not columns or column not in columns:
        yield f"{reader}: the schema {catalogue.schema} has no table {table} with a column {column}"
    elif "id" not in columns or columns["id"].type != "uuid":
        yield f"{reader}: the table {table} has no column id of the type uuid"
    elif any(entity.table == table for entity in registry.values()):
        yield f"{reader}: the table {table} is loaded by the same reimport; use parent: or reference:"


def _wrong_defaults(cursor: Cursor, columns: Mapping[str, Column], entity: Entity) -> Iterator[str]:
    """Yield defaults of missing columns, and those whose value PostgreSQL does not accept."""
    for name, value in entity.defaults.items():
        column = columns.get(name)
        where = f"{entity.table}.{name}"
        if column is None:
            if not entity.if_there:
                yield f"{entity.name}: the default of {where}: the table has no such column"
            continue
        if name in WRITTEN or column.generated:
            yield f"{entity.name}: {where} can have no default here"
            continue
        if not _is_taken(cursor, value, column):
            yield f"{entity.name}: the default of {where} is no {column.type}"


def _is_taken(cursor: Cursor, value: object, column: Column) -> bool:
    """Return whether PostgreSQL accepts a value for a column without truncating it."""
    if column.most_characters and len(str(value)) > column.most_characters:
        return False
    cursor.execute("SAVEPOINT trying")
    try:
        cursor.execute(sql.SQL("SELECT {}, %s").format(default_value(value, column)), (None,))
    except (psycopg2.Error, TypeError, ValueError):  # also a value that has no form in SQL
        cursor.execute("ROLLBACK TO SAVEPOINT trying")
        return False
    cursor.execute("RELEASE SAVEPOINT trying")
    return True


def default_value(value: object, column: Column) -> sql.Composable:
    """Return an expression for a default: JSON for json columns; text without a cast, so that it is never truncated.

    It is for a statement with parameters, in which a % is doubled.
    """
    if column.type in {"json", "jsonb"} or isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        return sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(column.type))
    literal = sql.Literal(value.replace("%", "%%"))
    return literal if column.is_text else sql.SQL("{}::{}").format(literal, sql.SQL(column.type))
