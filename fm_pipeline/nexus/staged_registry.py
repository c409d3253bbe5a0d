"""The registry as it was staged: with the tables and columns that a profile adds, without those that were left out.

Plan, reimport, backup and restore use it instead of the profile, because it describes the staged rows also if the
profile has been changed or lost since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from pydantic import TypeAdapter

from fm_pipeline.db.queries import has_table
from fm_pipeline.db.table import Table
from fm_pipeline.entities.registry import ENTITIES, Entity, Registry

STAGED_ENTITIES = Table("fm_pipeline", "staged_entities")
_AS_JSON = TypeAdapter(Entity)


def read_registry(cursor: Cursor) -> Registry:
    """Return the entities that can be staged: those of the import sequence, and those that a profile has added."""
    registry = {name: entity for name, entity in ENTITIES.items() if not entity.made}
    if has_table(cursor, str(STAGED_ENTITIES)):
        cursor.execute(
            "SELECT definition::text FROM fm_pipeline.staged_entities WHERE definition IS NOT NULL ORDER BY entity"
        )
        registry |= {entity.name: entity for (text,) in cursor.fetchall() for entity in [_AS_JSON.validate_json(text)]}
    return registry


def read_left_out(cursor: Cursor) -> list[str]:
    """Return, in sentences, what this release of Nexus or this FileMaker file lacks of the profile."""
    if not has_table(cursor, str(STAGED_ENTITIES)):
        return []
    cursor.execute("SELECT unnest(left_out) FROM fm_pipeline.staged_entities ORDER BY entity")
    return [row[0] for row in cursor.fetchall()]


def without_left_out(cursor: Cursor, registry: Registry) -> Registry:
    """The entities of a profile but those that the last extraction left out as a whole."""
    cursor.execute("SELECT entity FROM fm_pipeline.staged_entities WHERE definition IS NULL")
    absent = {row[0] for row in cursor.fetchall()}
    return {name: entity for name, entity in registry.items() if name not in absent}


def remember(cursor: Cursor, entity: Entity, left_out: Sequence[str]) -> None:
    """Store the definition of an entity, unless it is the shipped one; in the transaction that stages it."""
    if entity == ENTITIES.get(entity.name) and not entity.made and not left_out:
        cursor.execute("DELETE FROM fm_pipeline.staged_entities WHERE entity = %s", (entity.name,))
        return
    _write(cursor, entity.name, as_json(entity), left_out)


def as_json(entity: Entity) -> str:
    """A definition as text that is the same in every process: a plan is bound to its digest, and sets have no order."""
    content = _AS_JSON.dump_python(entity, mode="json")
    content["fields"].sort()
    content["required"] = [sorted(group) for group in content["required"]]
    return json.dumps(content, sort_keys=True)


def remember_left_out(cursor: Cursor, name: str, left_out: Sequence[str]) -> None:
    """Store that an entity is left out completely."""
    _write(cursor, name, None, left_out)


def drop_staged(cursor: Cursor, name: str) -> None:
    """Remove the definition of an entity, and its staged table if it was created for it."""
    cursor.execute("SELECT definition::text FROM fm_pipeline.staged_entities WHERE entity = %s", (name,))
    for (text,) in cursor.fetchall():
        if text and (entity := _AS_JSON.validate_json(text)).made:
            cursor.execute(
                sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("fm_pipeline", entity.staged_table))
            )
    cursor.execute("DELETE FROM fm_pipeline.staged_entities WHERE entity = %s", (name,))


def _write(cursor: Cursor, name: str, definition: str | None, left_out: Sequence[str]) -> None:
    cursor.execute(
        "INSERT INTO fm_pipeline.staged_entities (entity, definition, left_out) VALUES (%s, %s, %s)"
        " ON CONFLICT (entity) DO UPDATE SET definition = excluded.definition, left_out = excluded.left_out",
        (name, definition, list(left_out)),
    )
