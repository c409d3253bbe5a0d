"""The entity sets of a file: its tables, the occurrences of its relations, and an occurrence for each layout.

Real files list the occurrences of their relationship graph. The stand-in has no graph; a layout stands for an
occurrence of its name, as clinics make them for this purpose, and shows all fields of the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fm_pipeline.sandbox.filemaker.call import Engine
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, Occurrence, ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import StoreTable
from fm_pipeline.sandbox.filemaker.odata.failures import ServiceError, unknown_field, unknown_table

# As in files of real servers: table ids begin high, and a field id holds its table id in the lower half.
_FIRST_TABLE_ID = 1_065_089
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class StoreEntitySet:
    """An entity set.

    Args:
        id: the number in `FMTID:n`.
        fields: those that the account may see, containers included.
        relations: occurrences that are related to it, by name.
    """

    name: str
    id: int
    table: StoreTable
    fields: Mapping[str, FieldDefinition]
    relations: Mapping[str, Occurrence]

    @property
    def key(self) -> FieldDefinition | None:
        """The key field; None if ROWID is the key."""
        return next((field for field in self.fields.values() if field.unique), None)

    def field_id(self, name: str) -> int:
        """Return the number in `FMFID:n`."""
        return ((list(self.table.fields).index(name) + 1) << 32) + self.id

    def field(self, name: str) -> FieldDefinition:
        """Return a field by name or by `FMFID:n`. Raises ServiceError 8309."""
        if name.startswith("FMFID:"):
            name = next((each for each in self.fields if f"FMFID:{self.field_id(each)}" == name), name)
        if name not in self.fields:
            raise unknown_field(name)
        return self.fields[name]


def entity_sets(engine: Engine, database: str, account: ServerAccount) -> dict[str, StoreEntitySet]:
    """Return the entity sets of a file by name, in the order in which they are listed."""
    faults = engine.faults
    with engine.store.reading() as db:
        tables = [row[0] for row in db.execute("SELECT name FROM fm_table WHERE file = ? ORDER BY id", (database,))]
        rows = db.execute("SELECT definition FROM occurrence WHERE file = ? ORDER BY rowid", (database,)).fetchall()
    occurrences = []
    for row in rows:
        definition = json.loads(row[0])
        occurrences.append(Occurrence(**{**definition, "match": tuple(definition["match"])}))
    bases = {name: name for name in tables}
    for occurrence in occurrences:
        bases.setdefault(occurrence.name, occurrence.related_table)
    for layout in engine.store.layouts(database):
        if layout.name not in faults.missing_layouts:
            bases.setdefault(layout.name, layout.table)
    stored = {name: engine.store.table(database, name) for name in tables}
    sets = {}
    for number, (name, base) in enumerate(bases.items(), _FIRST_TABLE_ID):
        gone = {*account.no_access.get(base, ()), *faults.missing_fields.get(name, ())}
        fields = {each: field for each, field in stored[base].fields.items() if each not in gone}
        relations = {each.name: each for each in occurrences if each.table == base}
        sets[name] = StoreEntitySet(name, number, stored[base], fields, relations)
    return sets


def entity_set(engine: Engine, database: str, account: ServerAccount, name: str, quoted: bool) -> StoreEntitySet:
    """Return the entity set that a URL names, by its name or by `FMTID:n`.

    Raises:
        ServiceError: -1010, there is none, or its name must be quoted.
    """
    sets = entity_sets(engine, database, account)
    if name.startswith("FMTID:"):
        name = next((each.name for each in sets.values() if f"FMTID:{each.id}" == name), name)
    bare = not quoted and not _PLAIN.fullmatch(name)
    if name not in sets or (bare and not engine.behaviour.odata.takes_bare_names):
        raise unknown_table(name)
    return sets[name]


def hosted_name(engine: Engine, spelled: str) -> str:
    """Return the file that a URL names, with or without `.fmp12`.

    Raises:
        ServiceError: 802, there is none. A file whose own name holds a dot is found with its suffix only.
    """
    name = spelled.removesuffix(".fmp12")
    if name in engine.store.databases() and ("." not in name or name != spelled):
        return name
    raise ServiceError(501, "802", f"Unable to open file {spelled}")
