"""Where staged rows come from: the extractions, and whether a build still matches them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.errors import StagingStop
from fm_pipeline.staging.staged_entities import CONTACT_DETAIL

EVERYBODY_NEEDS = ("patient", CONTACT_DETAIL)  # the patients are built from both, and everything else from them


class Extraction(NamedTuple):
    """The newest whole extraction of an entity."""

    id: str
    fed_fields: frozenset[str]
    row_count: int


def read_extractions(cursor: Cursor) -> dict[str, Extraction]:
    """The extractions that there are, by entity."""
    cursor.execute("SELECT entity, extraction_id::text, fed_fields, row_count FROM fm_pipeline.source_extractions")
    return {entity: Extraction(key, frozenset(fed), rows) for entity, key, fed, rows in cursor}


def extracted_again() -> StagingStop:
    """The refusal of a build whose records were replaced while it read them."""
    return StagingStop(
        "FileMaker's records were extracted again while they were being staged.",
        meaning="The staged rows of before are unchanged.",
        remedy="Run the staging again when the extraction has ended.",
    )


def built_from(entity: str, extractions: Mapping[str, Extraction]) -> list[str]:
    """The extractions that a build of an entity uses: its own, and those that the patients come from."""
    names = {entity, *EVERYBODY_NEEDS}
    return sorted(extractions[name].id for name in names if name in extractions)


def stale_builds(cursor: Cursor, entities: Iterable[str], extractions: Mapping[str, Extraction]) -> list[str]:
    """One sentence for each entity that is not staged, or staged from something else than there is now."""
    cursor.execute(
        "SELECT b.entity, b.built_from::text[],"
        " b.built_at < (SELECT p.built_at FROM fm_pipeline.staged_builds p WHERE p.entity = 'patient')"
        " FROM fm_pipeline.staged_builds b"
    )
    builds = {entity: (origin, is_older) for entity, origin, is_older in cursor}
    faults = []
    for entity in entities:
        if entity not in builds:
            faults.append(f"{entity} is not staged")
            continue
        origin, is_older = builds[entity]
        if origin != built_from(entity, extractions):
            faults.append(f"{entity} was staged before the last extraction")
        elif is_older:
            faults.append(f"{entity} was staged before the patients were staged again")
    return faults
