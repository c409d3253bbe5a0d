"""Whether what is staged is what staging would build now, so that a sync with nothing new need not build it again.

Staged rows depend on FileMaker's records, the profile, the rules, the time zone, names and ids that Nexus has, and the
crosswalk, and on the code. They depend on the day too, by rules about dates in the future; so a sync stages at least
once a week, because it reads each layout whole once a week.

Each build stores what it is made from, in its own transaction, whoever asks for it: a command, a job, or a person who
materializes a single asset. So no run has to note that it has staged everything, and none can be taken for another.
"""

from __future__ import annotations

import hashlib
import sys
import unicodedata
import zoneinfo
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.digest import table_digest
from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.registry import CONTACT_DETAIL, LOOK_UPS, Entity, Registry, loaded, looked_up_in, staged
from fm_pipeline.entities.rules import Rules
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.crosswalk import fill_crosswalk
from fm_pipeline.nexus.profile_fit import fit_registry
from fm_pipeline.nexus.staged_registry import as_json, without_left_out
from fm_pipeline.settings import Settings
from fm_pipeline.staging.changed_records import has_changed
from fm_pipeline.staging.origin import Extraction, read_extractions, stale_builds
from fm_pipeline.staging.source import hash_queries

# Of the package: what makes a staged row from a record.
_CODE = ("staging", "entities", "nexus/crosswalk.py", "nexus/profile_fit.py", "nexus/catalogue", "db/copy.py")


def is_staged_already(connection: Connection, settings: Settings, profile: Profile, rules: Rules) -> bool:
    """Return whether every staged row is what would be built now; commits what the crosswalk learns from Nexus."""
    with connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        registry = fit_registry(cursor, catalogue, without_left_out(cursor, profile.registry)).registry
        extractions = read_extractions(cursor)
        if stale_builds(cursor, [name for name in extractions if name in registry], extractions, registry):
            return False
        fill_crosswalk(connection, catalogue, registry)
        if not _agrees_with_crosswalk(cursor, registry):
            return False
        entities = [entity for entity in staged(registry) if entity.name in extractions]
        names = names_in_nexus(cursor, catalogue, registry)
        cursor.execute("SELECT entity, fingerprint FROM fm_pipeline.built_entities")
        built = dict(cursor.fetchall())
        if any(
            built.get(entity.name) != build_fingerprint(entity, extractions, rules, settings.clinic_time_zone, names)
            for entity in entities
        ):
            return False
        # Of the records of files a build has also asked whether Nexus has the file.
        return not any(has_changed(cursor, hash_queries(each, catalogue, registry)) for each in entities if each.files)


def build_fingerprint(
    entity: Entity, extractions: Mapping[str, Extraction], rules: Rules, time_zone: str, names: Sequence[object]
) -> str:
    """Return a digest of everything that a build of an entity depends on, but the records.

    Args:
        names: see `names_in_nexus`.
    """
    _, fed, _, orders = extractions[entity.name]
    if entity.name == "patient" and CONTACT_DETAIL in extractions:
        fed |= {CONTACT_DETAIL}
    inputs = (as_json(entity), sorted(fed), sorted(orders.items()), rules.by_id, time_zone, names)
    return _digest_of((*inputs, code_digest(), zone_digest(time_zone)))


def _agrees_with_crosswalk(cursor: Cursor, registry: Registry) -> bool:
    """Return whether the staged rows have the ids of the crosswalk. Rows that are matched by content must be in it."""
    for entity in loaded(registry):
        cursor.execute(
            sql.SQL(
                "SELECT EXISTS (SELECT FROM {} s LEFT JOIN fm_pipeline.crosswalk c ON c.entity = %(entity)s"
                " AND c.filemaker_key = s.filemaker_key"
                " WHERE c.nexus_id <> s.nexus_id OR (c.nexus_id IS NULL AND %(by_content)s))"
            ).format(sql.Identifier("fm_pipeline", entity.staged_table)),
            {"entity": entity.name, "by_content": entity.by_content},
        )
        if cursor.fetchone() == (True,):
            return False
    return True


def names_in_nexus(cursor: Cursor, catalogue: Catalogue, registry: Registry) -> list[object]:
    """Return digests of the tables of Nexus whose names and ids staging looks up, and of the catalogue."""
    looked_up = [*LOOK_UPS, *(name for entity in registry.values() for name in entity.looked_up)]
    tables = {catalogue.table(looked_up_in(name)[0]) for name in looked_up}
    found: list[object] = [catalogue.fingerprint]
    return found + [(table, table_digest(cursor, table)) for table in sorted(tables) if table in catalogue.columns]


def _digest_of(inputs: Sequence[object]) -> str:
    """Return a digest of anything whose `repr` says all of it."""
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


@cache
def code_digest() -> str:
    """Return a digest of the code that stages, and of the Python that runs it: another release may stage otherwise."""
    package = resources.files("fm_pipeline")
    read = [package.joinpath(name) for name in _CODE]
    digest = hashlib.sha256(f"{sys.version} {unicodedata.unidata_version}".encode())
    while read:
        each = read.pop()
        if each.is_dir():
            read += sorted(each.iterdir(), key=lambda entry: entry.name)
        elif each.name.endswith((".py", ".yaml")):
            digest.update(each.name.encode() + b"\0" + each.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def zone_digest(name: str) -> str:
    """Return a digest of the rules of a time zone, which change with the time zone database."""
    places = [Path(folder, name) for folder in zoneinfo.TZPATH]
    found = next((path for path in places if path.is_file()), None)
    try:
        content = found.read_bytes() if found else resources.files("tzdata.zoneinfo").joinpath(name).read_bytes()
    except (OSError, ValueError, ImportError):
        content = b""  # there is no such zone: the build says so
    return hashlib.sha256(content).hexdigest()
