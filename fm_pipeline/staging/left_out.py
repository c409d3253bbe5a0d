"""Entities that come with the pipeline and that this release of Nexus or this FileMaker file does not have: left out.

What Nexus has of such a table stays, since nothing is loaded into it; plan and check say so. An entity that a clinic's
own profile adds is never left out: what is missing of it stops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from psycopg2.extensions import connection as Connection

from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.resolution import resolve
from fm_pipeline.errors import MappingError
from fm_pipeline.filemaker.door import Door, DoorKind
from fm_pipeline.filemaker.model import Field
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.profile_fit import fit_registry
from fm_pipeline.nexus.staged_registry import remember_left_out
from fm_pipeline.settings import Settings
from fm_pipeline.staging.run import forget


def leave_out(door: Door, connection: Connection, profile: Profile, entity: str, settings: Settings) -> Sequence[str]:
    """Drop what is staged of an entity that is left out, and write down why; commits.

    Returns:
        The reasons; none where the entity is there.

    Raises:
        CatalogueStop: what the profile adds does not fit Nexus.
        FileMakerError: FileMaker does not list its tables.
    """
    tables, absent = door.tables(), dict[str, list[str]]()
    for name in profile.entities:
        if profile.registry[name].if_there:
            absent[name] = missing_layout(profile, name, tables, door.fields, door.kind)
    there = {name: each for name, each in profile.registry.items() if not absent.get(name)}
    with connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        fitted = fit_registry(cursor, catalogue, there)
    connection.commit()
    if not profile.registry[entity].if_there:
        return ()
    sentences = absent[entity] or ([] if entity in fitted.registry else fitted.left_out[entity])
    if sentences:
        forget(connection, entity)
        with connection.cursor() as cursor:
            remember_left_out(cursor, entity, sentences)
        connection.commit()
    return sentences


def missing_layout(
    profile: Profile, entity: str, tables: Sequence[str], fields_of: Callable[[str], Sequence[Field]], kind: DoorKind
) -> list[str]:
    """Why an entity is left out whose table, or a field that it needs, FileMaker does not have."""
    try:
        resolve(profile, entity, tables, fields_of, kind)
    except MappingError as error:
        return [f"{entity} is left out. {error.what}"]
    return []
