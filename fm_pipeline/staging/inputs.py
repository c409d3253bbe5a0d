"""Whether what is staged is what staging would build now, so that a sync with nothing new need not build it again.

Staged rows depend on FileMaker's records, the profile, the rules, the time zone, names and ids that Nexus has, and the
crosswalk, and on the code. They depend on the day too, by rules about dates in the future; so a sync stages at least
once a week, because it reads each layout whole once a week.
"""

from __future__ import annotations

import hashlib
import sys
import unicodedata
import zoneinfo
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.commit import commit_without_waiting
from fm_pipeline.db.digest import table_digest
from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.registry import LOOK_UPS, Registry, loaded, looked_up_in, staged
from fm_pipeline.entities.rules import Rules
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.crosswalk import fill_crosswalk
from fm_pipeline.nexus.staged_registry import read_registry
from fm_pipeline.settings import Settings
from fm_pipeline.staging.origin import read_extractions, stale_builds

# Of the package: what makes a staged row from a record.
_CODE = ("staging", "entities", "nexus/crosswalk.py", "nexus/profile_fit.py", "nexus/catalogue", "db/copy.py")


def is_staged_already(connection: Connection, settings: Settings, profile: Profile, rules: Rules) -> bool:
    """Return whether every staged row is what would be built now; commits what the crosswalk learns from Nexus."""
    with connection.cursor() as cursor:
        extractions, registry = read_extractions(cursor), read_registry(cursor)
        entities = [name for name in extractions if name in registry]
        cursor.execute("SELECT fingerprint FROM fm_pipeline.staged_inputs")
        row = cursor.fetchone()
        if row is None or stale_builds(cursor, entities, extractions, registry):
            return False
        fill_crosswalk(connection, read_catalogue(cursor, settings.nexus_schema), registry)
        if not _agrees_with_crosswalk(cursor, registry):
            return False
        return bool(row[0] == _fingerprint(cursor, settings, profile, rules))


def read_fingerprint(connection: Connection, settings: Settings, profile: Profile, rules: Rules) -> str:
    """Return what everything would be built from now; ends the transaction."""
    with connection, connection.cursor() as cursor:
        return _fingerprint(cursor, settings, profile, rules)


def note_staged(connection: Connection, settings: Settings, profile: Profile, rules: Rules, before: str) -> None:
    """Note what everything was just built from; commits.

    Args:
        before: from `read_fingerprint`, before the build. If something has changed since, the build may have read it
            before or after that. Then nothing is noted, and the next sync builds again.
    """
    with connection.cursor() as cursor:
        commit_without_waiting(cursor)
        cursor.execute("DELETE FROM fm_pipeline.staged_inputs")
        if _fingerprint(cursor, settings, profile, rules) == before:
            cursor.execute("INSERT INTO fm_pipeline.staged_inputs (fingerprint) VALUES (%s)", (before,))
    connection.commit()


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


def digest_of(inputs: Sequence[object]) -> str:
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


def _fingerprint(cursor: Cursor, settings: Settings, profile: Profile, rules: Rules) -> str:
    catalogue, registry = read_catalogue(cursor, settings.nexus_schema), read_registry(cursor)
    files = {catalogue.table(entity.files) for entity in staged(registry) if entity.files}
    parts: list[object] = [profile.model_dump(mode="json"), rules.by_id, settings.clinic_time_zone]
    parts += [code_digest(), zone_digest(settings.clinic_time_zone)]
    parts += names_in_nexus(cursor, catalogue, registry)
    parts += [
        (table, table_digest(cursor, table, ("filemaker_id",)))
        for table in sorted(files)
        if "filemaker_id" in catalogue.columns.get(table, {})
    ]
    return digest_of(parts)
