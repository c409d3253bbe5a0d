"""Where staged rows come from: the extractions, and whether a build still matches them.

FileMaker raises the version of a record and the time of its modification with every edit, and gives no record id twice.
A file that was restored from a backup goes on from the state of the backup. So versions and times go back, and record
ids come again. Then a record that was edited or made after the restore can look like the one that is known. The same
goes for a backup that the server offers under another name.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.commit import commit_without_waiting
from fm_pipeline.entities.exports import date_fields
from fm_pipeline.entities.order import parents, sources
from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.registry import CONTACT_DETAIL, ENTITIES, Registry
from fm_pipeline.entities.resolution import Resolution
from fm_pipeline.errors import StagingStop
from fm_pipeline.filemaker.exports.dates import DateReader
from fm_pipeline.filemaker.exports.options import TypedOrder

if TYPE_CHECKING:
    from fm_pipeline.staging.extract import ExtractionResult

WHOLE_AFTER = dt.timedelta(days=7)  # a layout is read whole at least so often


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
    """Read the dates of a field. The value is cut out of the text of the document.

    Not `fields ->> name`: PostgreSQL refuses a document that holds a NUL or half of a surrogate pair anywhere. Inside
    of a text its quotes have a backslash.
    """
    reader = DateReader(None)
    cursor.execute(
        "SELECT DISTINCT value FROM (SELECT substring(fields::text FROM %s) AS value FROM fm_pipeline.source_records"
        " WHERE entity = %s) s WHERE value IS NOT NULL",
        (rf'"{name}": ("(?:[^"\\]|\\.)*")', entity),
    )
    reader.convert([json.loads(value) for (value,) in cursor])
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


# Times of modification as a server writes them: ISO, or MM/DD/YYYY from an older one. Others say nothing.
_DAY = r"""
CASE WHEN modified ~ '^\d{4}-\d\d-\d\d' THEN left(modified, 10)
     WHEN modified ~ '^\d\d/\d\d/\d{4}' THEN substr(modified, 7, 4) || '-' || left(modified, 2) || '-'
                                             || substr(modified, 4, 2) END
"""


class SourceWentBack(Exception):
    """The file was restored from a backup, or the account sees less of a record than before."""


def refuse_lower_versions(cursor: Cursor, entity: str) -> None:
    """Compare the known versions of records with those in the temporary table `listed`.

    Raises:
        SourceWentBack: one is lower.
    """
    cursor.execute(
        "SELECT EXISTS (SELECT FROM listed l JOIN fm_pipeline.source_records r ON r.entity = %s"
        " AND r.record_id = l.record_id WHERE l.mod_id < r.mod_id)",
        (entity,),
    )
    if cursor.fetchone() == (True,):
        raise SourceWentBack


def refuse_earlier_times(cursor: Cursor, entity: str, since: dt.date, found: Collection[int]) -> None:
    """Compare the known times of modification with a find of all records that were modified since a day.

    Args:
        found: the ids of its records. Records that are gone are not known any more.

    Raises:
        SourceWentBack: a record that was modified since then is not among them.
    """
    cursor.execute(
        # Nearly all are earlier. The index `source_records_modified` finds the others by their texts: ISO times from
        # that day on, and all times that begin with a month.
        "SELECT EXISTS (SELECT FROM fm_pipeline.source_records WHERE entity = %s"  # noqa: S608  # ours
        """ AND (modified COLLATE "C" >= %s OR modified COLLATE "C" < '13')"""
        f" AND {_DAY} >= %s"
        " AND NOT EXISTS (SELECT FROM unnest(%s::bigint[]) AS there(id) WHERE there.id = record_id))",
        (entity, since.isoformat(), since.isoformat(), list(found)),
    )
    if cursor.fetchone() == (True,):
        raise SourceWentBack


def note_reading(connection: Connection, result: ExtractionResult, started_at: dt.datetime) -> None:
    """Note that an entity was read whole; commits.

    If this has shown that the file was restored from a backup, the other layouts are read whole again too.
    """
    with connection, connection.cursor() as cursor:
        commit_without_waiting(cursor)
        cursor.execute(
            "INSERT INTO fm_pipeline.source_readings (entity, extraction_id, feeds, checked_at, whole_at, file_source)"
            " VALUES (%(entity)s, %(id)s, %(feeds)s, %(at)s, %(at)s, (SELECT source FROM fm_pipeline.source_extractions"
            " WHERE entity = %(entity)s AND source LIKE '%%://%%')) ON CONFLICT (entity) DO UPDATE"
            " SET extraction_id = excluded.extraction_id, feeds = excluded.feeds,"
            " checked_at = excluded.checked_at, whole_at = excluded.whole_at,"
            " file_source = coalesce(excluded.file_source, source_readings.file_source)",
            {
                "entity": result.entity,
                "id": str(result.extraction_id),
                "feeds": result.signature,
                "at": started_at,
            },
        )
        cursor.execute(
            "UPDATE fm_pipeline.source_readings SET went_back_at = %(at)s,"
            " whole_at = CASE entity WHEN %(entity)s THEN whole_at ELSE %(long_ago)s END"
            " WHERE (entity = %(entity)s OR went_back_at IS NULL) AND EXISTS"
            " (SELECT FROM fm_pipeline.source_readings WHERE entity = %(entity)s AND went_back_at >= %(at)s)",
            {"entity": result.entity, "at": started_at, "long_ago": started_at - WHOLE_AFTER},
        )


def note_restored(cursor: Cursor, now: dt.datetime) -> None:
    """Note it, and let every layout be read whole: those that come later in this run, the others by the next one."""
    cursor.execute("UPDATE fm_pipeline.source_readings SET went_back_at = %s, whole_at = %s", (now, now - WHOLE_AFTER))


def file_name(source: str) -> str | None:
    """Return the name of FileMaker's file, without the suffix that a server does not need; None of exports.

    Args:
        source: `Door.source`.
    """
    return source.rpartition("/")[2].casefold().removesuffix(".fmp12") if "://" in source else None


def remember_versions(cursor: Cursor, entity: str, source: str, layout: str) -> bool:
    """Keep the versions of the known records, if they are of this layout, until the end of the transaction.

    A server that has moved, and the other interface of a server, have the same versions.

    Returns:
        Whether FileMaker's file has another name than the one that they were read from. Then it may be a backup. If
        they were read from exports, the last file before these counts.
    """
    cursor.execute("SELECT source, layout FROM fm_pipeline.source_extractions WHERE entity = %s", (entity,))
    before = cursor.fetchone() or (source, "")
    cursor.execute("SELECT file_source FROM fm_pipeline.source_readings WHERE entity = %s", (entity,))
    read_last = (cursor.fetchone() or (None,))[0] or source
    files = {file_name(each) for each in (before[0], source)}
    cursor.execute(
        "CREATE TEMP TABLE versions_before ON COMMIT DROP AS SELECT record_id, mod_id FROM fm_pipeline.source_records"
        " WHERE entity = %s AND %s",
        (entity, before[1] == layout and None not in files),
    )
    return len({*files, file_name(read_last)} - {None}) > 1


def note_lower_versions(cursor: Cursor, entity: str, now: dt.datetime, *, other_file: bool) -> None:
    """Note that the file was restored, if a record that has just been read has a lower version than before.

    Args:
        other_file: note it in any case: the file may have been restored under another name, and edited since.
    """
    cursor.execute(
        "UPDATE fm_pipeline.source_readings SET went_back_at = %s WHERE entity = %s AND (%s OR EXISTS (SELECT FROM"
        " versions_before b JOIN fm_pipeline.source_records r ON r.entity = %s AND r.record_id = b.record_id"
        " WHERE r.mod_id < b.mod_id))",
        (now, entity, other_file, entity),
    )


def was_restored(cursor: Cursor) -> bool:
    """Return whether it was noted since the last reimport or sync that changed Nexus."""
    cursor.execute("SELECT EXISTS (SELECT FROM fm_pipeline.source_readings WHERE went_back_at IS NOT NULL)")
    return cursor.fetchone() == (True,)


def forget_restored(cursor: Cursor) -> None:
    """Forget it of the layouts that were read whole since: a person has agreed to what FileMaker has now.

    A layout that the profile no longer has is not read again. Others are read whole once a week.
    """
    cursor.execute(
        "UPDATE fm_pipeline.source_readings SET went_back_at = NULL WHERE whole_at >= went_back_at"
        " OR went_back_at < (SELECT max(checked_at) FROM fm_pipeline.source_readings) - interval '14 days'"
    )
