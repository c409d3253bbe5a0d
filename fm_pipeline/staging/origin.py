"""Where staged rows come from: the extractions, and whether a build still matches them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.entities.exports import date_fields
from fm_pipeline.entities.order import parents, sources
from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.registry import CONTACT_DETAIL, ENTITIES, Registry
from fm_pipeline.entities.resolution import Resolution
from fm_pipeline.errors import StagingStop
from fm_pipeline.filemaker.exports.dates import DateReader
from fm_pipeline.filemaker.exports.options import TypedOrder


class Extraction(NamedTuple):
    """The newest whole extraction of an entity."""

    id: str
    fed_fields: frozenset[str]
    row_count: int
    date_orders: Mapping[str, TypedOrder | None]


def read_extractions(cursor: Cursor) -> dict[str, Extraction]:
    """The extractions that there are, by entity."""
    cursor.execute(
        "SELECT entity, extraction_id::text, fed_fields, row_count, date_orders FROM fm_pipeline.source_extractions"
    )
    return {entity: Extraction(key, frozenset(fed), rows, orders) for entity, key, fed, rows, orders in cursor}


def note_orders(cursor: Cursor, resolution: Resolution, profile: Profile) -> None:
    """Find out the order of the dates in each text field of an entity, and store it with the extraction."""
    dated = date_fields(profile.registry[resolution.entity])
    orders = {}
    for name, fields in resolution.feeds.items():
        if name not in dated or all(each.result != "text" for each in fields):
            continue
        found = _look(cursor, resolution.entity, name)
        if found.ambiguous or any(found.proofs.values()):  # else the year is first, or a door has put it there
            orders[name] = resolution.dates or found.proved()
    cursor.execute(
        "UPDATE fm_pipeline.source_extractions SET date_orders = %s WHERE entity = %s",
        (json.dumps(orders), resolution.entity),
    )


def _look(cursor: Cursor, entity: str, name: str) -> DateReader:
    reader = DateReader(None)
    cursor.execute(
        "SELECT DISTINCT fields ->> %s FROM fm_pipeline.source_records WHERE entity = %s AND fields ->> %s IS NOT NULL",
        (name, entity, name),
    )
    reader.convert([text for (text,) in cursor])
    return reader


def extracted_again() -> StagingStop:
    """The refusal of a build whose records were replaced while it read them."""
    return StagingStop(
        "FileMaker's records were extracted again while they were being staged.",
        meaning="The staged rows of before are unchanged.",
        remedy="Run the staging again when the extraction has ended.",
    )


def built_from(entity: str, extractions: Mapping[str, Extraction], registry: Registry = ENTITIES) -> list[str]:
    """The extractions that a build of an entity uses: its own, and those that its parents come from."""
    names = sources(registry, "patient" if entity == CONTACT_DETAIL else entity) | {entity}
    return sorted(extractions[name].id for name in names if name in extractions)


def stale_builds(
    cursor: Cursor, entities: Iterable[str], extractions: Mapping[str, Extraction], registry: Registry
) -> list[str]:
    """One sentence for each entity that is not staged, or staged from something else than there is now."""
    cursor.execute("SELECT entity, built_from::text[], built_at FROM fm_pipeline.staged_builds")
    builds = {entity: (origin, built_at) for entity, origin, built_at in cursor}
    faults = []
    for entity in entities:
        if entity not in builds:
            faults.append(f"{entity} is not staged")
            continue
        origin, built_at = builds[entity]
        before = ["patient"] if entity == CONTACT_DETAIL else parents(registry, entity) if entity in registry else []
        again = [name for name in before if name in builds and built_at < builds[name][1]]
        if origin != built_from(entity, extractions, registry):
            faults.append(f"{entity} was staged before the last extraction")
        elif again:
            faults.append(f"{entity} was staged before the {registry[again[0]].plural} were staged again")
    return faults
