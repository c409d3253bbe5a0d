"""Read what changed since the last reading, and check that no record is missing or left over; else read all of it.

OData lists the ids and versions of all records. Those with another version than the known one have changed, and those
that are not listed are gone. The list is proved to be complete, as a whole reading is.

The Data API has no such list. There a find by the modification time brings new and changed records. Two things are then
compared with FileMaker: the number of records, and the newest ones in creation order. FileMaker appends new records, so
if the newest are the new ones that were found, behind the newest that was known, none is new and unknown. If the number
is right too, none was deleted.

The value of a calculation, or of a related field, changes without an edit of its record. A layout with such a field is
read whole.

An edit that leaves the time as it is cannot be found by the time (an import without auto-enter options). If FileMaker's
file is restored from a backup and edited again, a version can come twice (`origin`). So each layout is read
whole once a week.
"""

from __future__ import annotations

import datetime as dt
import uuid
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from fm_pipeline.db.commit import commit_without_waiting
from fm_pipeline.db.copy import copy_rows
from fm_pipeline.entities.resolution import Resolution, resolve
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.door import DataApiDoor
from fm_pipeline.filemaker.data_api.paging import read_completely
from fm_pipeline.filemaker.door import Door, Reading
from fm_pipeline.filemaker.errors import RecordMissing, ValueRefused
from fm_pipeline.filemaker.model import FileMakerRecord, Page
from fm_pipeline.filemaker.odata.door import ODataDoor
from fm_pipeline.filemaker.odata.versions import read_listed, read_versions
from fm_pipeline.staging.extract import (
    DigestedRows,
    ExtractionResult,
    canonical_rows,
    columns_of,
    parents_of,
    refuse_second_extraction,
)
from fm_pipeline.staging.left_out import missing_layout
from fm_pipeline.staging.origin import (
    WHOLE_AFTER,
    SourceWentBack,
    note_orders,
    note_restored,
    refuse_earlier_times,
    refuse_lower_versions,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from fm_pipeline.entities.profile import Profile

OVERLAP = dt.timedelta(days=1)  # the clocks, and the time zones, of two machines differ
LARGEST_SHARE, FEW = 0.2, 200  # more changed records than both are read with all others
LARGEST_PAGE = 1000  # of new records that are compared with the newest ones


class _TooManyChanges(Exception):
    """A find has more records than are worth reading apart from the others."""


@dataclass(frozen=True)
class _Known:
    """The last extraction of an entity."""

    extraction_id: str
    rows: int
    fed_fields: tuple[str, ...]
    digest: str
    checked_at: dt.datetime


def read_changes(
    door: Door,
    connection: Connection,
    profile: Profile,
    entity: str,
    *,
    now: dt.datetime,
    zone: ZoneInfo,
    page_size: int,
) -> ExtractionResult | None:
    """Bring the extracted records of an entity up to date.

    Args:
        connection: outside a transaction; one is begun and committed here.
        now: with a time zone.
        zone: in which FileMaker's timestamps are written.

    Returns:
        The extraction: a new one, or the last one if nothing has changed. None if the layout has to be read whole, or
        the entity is left out.

    Raises:
        MappingError, FileMakerError, LockStop, psycopg2.Error: as `extract`.
    """
    mapping = profile.entities[entity].sync
    if door.kind == "exports" or (door.kind == "data_api" and (mapping is None or mapping.modified is None)):
        return None
    tables = door.tables()
    if profile.registry[entity].if_there and missing_layout(profile, entity, tables, door.fields, door.kind):
        return None
    resolution = resolve(profile, entity, tables, door.fields, door.kind)
    if any(field.kind != "normal" or "::" in field.name for field in resolution.fields):
        return None
    with connection, connection.cursor() as cursor:
        commit_without_waiting(cursor)
        refuse_second_extraction(cursor, entity)
        known = _known(cursor, door, profile, resolution, now)
        if known is None:
            return None
        changed, taken = None, DigestedRows.from_digest(known.digest)
        try:
            if isinstance(door, ODataDoor):
                changed = _take_other_versions(cursor, door, profile, resolution, known, taken, page_size)
            elif isinstance(door, DataApiDoor) and resolution.modified is not None:
                # An offset is beyond the last record: records went meanwhile, or all. Or the find takes no ISO date.
                with suppress(RecordMissing, ValueRefused):
                    changed = _take_modified(
                        *(cursor, door, profile, resolution, resolution.modified.name, known, taken, zone, page_size)
                    )
        except SourceWentBack:
            connection.rollback()
            note_restored(cursor, now)
            connection.commit()
        if changed is None:
            connection.rollback()
            return None
        cursor.execute("UPDATE fm_pipeline.source_readings SET checked_at = %s WHERE entity = %s", (now, entity))
        result = ExtractionResult(
            entity=entity,
            extraction_id=uuid.UUID(known.extraction_id) if not changed else uuid.uuid4(),
            layout=resolution.layout,
            row_count=taken.rows,
            fed_fields=known.fed_fields,
            unfed=resolution.unfed,
            digest=taken.digest,
            signature=resolution.signature,
        )
        if changed:
            _replace_extraction(cursor, result, now)
            note_orders(cursor, resolution, profile)
    return result


def _known(cursor: Cursor, door: Door, profile: Profile, resolution: Resolution, now: dt.datetime) -> _Known | None:
    """Return the last extraction, if it was read in the same way, and whole not long ago."""
    cursor.execute(
        "SELECT e.extraction_id::text, e.row_count, e.fed_fields, e.digest, r.checked_at"
        " FROM fm_pipeline.source_extractions e JOIN fm_pipeline.source_readings r USING (entity, extraction_id)"
        " WHERE e.entity = %s AND e.profile = %s AND e.layout = %s AND e.source = %s"
        " AND r.feeds = %s AND r.whole_at > %s AND r.checked_at <= %s",
        (
            *(resolution.entity, profile.name, resolution.layout, door.source, resolution.signature),
            *(now - WHOLE_AFTER, now),
        ),
    )
    row = cursor.fetchone()
    if row is None or ":" not in row[3]:  # a digest of an earlier release, which cannot be brought up to date
        return None
    return _Known(row[0], int(row[1]), tuple(row[2]), row[3], row[4])


def _take_other_versions(
    cursor: Cursor,
    door: ODataDoor,
    profile: Profile,
    resolution: Resolution,
    known: _Known,
    taken: DigestedRows,
    page_size: int,
) -> int | None:
    """Bring the records and their digest up to date by their versions; return how many changed.

    Returns None if they are too many, or one went while it was read. May raise `SourceWentBack`.
    """
    versions, entity = read_versions(door.client, resolution.layout), resolution.entity
    _list(cursor, zip(versions.ids, versions.counts, strict=True))
    refuse_lower_versions(cursor, entity)
    most = int(_most_changes(known))
    cursor.execute(
        "SELECT l.record_id FROM listed l LEFT JOIN fm_pipeline.source_records r ON r.entity = %s"
        " AND r.record_id = l.record_id WHERE r.mod_id IS DISTINCT FROM l.mod_id LIMIT %s",
        (entity, most + 1),
    )
    other = {record_id for (record_id,) in cursor.fetchall()}
    if len(other) > most:
        return None
    cursor.execute(  # after a restore, ids come again from there
        "SELECT l.record_id, l.mod_id FROM listed l JOIN fm_pipeline.source_records r ON r.entity = %s"
        " AND (r.record_id, r.mod_id) = (l.record_id, l.mod_id) ORDER BY 1 DESC LIMIT 1",
        (entity,),
    )
    newest = cursor.fetchone()
    wanted = {*other, newest[0]} if newest else other
    found = read_listed(door.client, Reading(resolution.layout, resolution.fields, page_size), versions.ids, wanted)
    if found is None:
        return None
    as_known = [record for record in found if (record.record_id, record.mod_id) == newest]
    if as_known and _upsert(cursor, profile, resolution, as_known, taken)[0]:
        raise SourceWentBack
    changed, _ = _upsert(cursor, profile, resolution, found, taken)
    return changed + _delete_others(cursor, resolution, taken)


def _take_modified(
    cursor: Cursor,
    door: DataApiDoor,
    profile: Profile,
    resolution: Resolution,
    modified: str,
    known: _Known,
    taken: DigestedRows,
    zone: ZoneInfo,
    page_size: int,
) -> int | None:
    """Bring the records and their digest up to date by their times of modification; return how many changed.

    Returns None if they are too many, or it cannot be proved that they are all. May raise `SourceWentBack`.
    """
    since = (known.checked_at.astimezone(zone) - OVERLAP).date()
    found = _modified_since(door.client, resolution, modified, known, since, page_size)
    if found is None:
        return None
    changed, new = _upsert(cursor, profile, resolution, found, taken)
    if not _is_complete(cursor, door, resolution, taken.rows, new):
        gone = _delete_missing(cursor, door, profile, resolution, taken, page_size)
        changed += gone
        if not gone or not _is_complete(cursor, door, resolution, taken.rows, new):
            return None
    refuse_earlier_times(cursor, resolution.entity, since, [record.record_id for record in found])
    return changed


def _most_changes(known: _Known) -> float:
    return max(known.rows * LARGEST_SHARE, FEW)


def _modified_since(
    client: DataApiClient, resolution: Resolution, modified: str, known: _Known, since: dt.date, page_size: int
) -> list[FileMakerRecord] | None:
    """Return the records that were modified since; None if they are too many."""
    if client.date_format is None and known.rows:
        client.page(resolution.layout, 1, 1)  # the first request finds out which format the server takes
    day = since.isoformat() if client.date_format == "iso" else since.strftime("%m/%d/%Y")
    query = [{modified: f">={day}"}]

    def fetch(offset: int, limit: int) -> Page:
        page = client.find(resolution.layout, query, offset=offset, limit=limit)
        if page.found_count > _most_changes(known):
            raise _TooManyChanges
        return page

    try:
        found: list[FileMakerRecord] = read_completely(fetch, list, page_size=page_size)
    except _TooManyChanges:
        return None
    return found


def _upsert(
    cursor: Cursor, profile: Profile, resolution: Resolution, found: Sequence[FileMakerRecord], taken: DigestedRows
) -> tuple[int, set[int]]:
    """Write the records that differ; return how many, and the ids of those that are new.

    Raises:
        SourceWentBack: one has a lower version than it had.
    """
    parents = parents_of(profile, resolution.entity)
    columns, rows = columns_of(parents), list(canonical_rows(resolution, found, parents, DigestedRows()))
    ids = [record.record_id for record in found]
    cursor.execute(
        # As a join, PostgreSQL looks each one up. Of the array it expects many, and would read the whole layout.
        "SELECT record_id, fields::text, mod_id, modified FROM unnest(%s::bigint[]) i(id)"
        " JOIN fm_pipeline.source_records ON entity = %s AND record_id = i.id",
        (ids, resolution.entity),
    )
    before = {record_id: state for record_id, *state in cursor.fetchall()}
    new = set(ids) - before.keys()
    compared = [columns.index(name) for name in ("fields", "mod_id", "modified")]
    changed, writes = 0, {}
    for record_id, row in zip(ids, rows, strict=True):
        now = [row[place] for place in compared]
        known, before[record_id] = before.get(record_id), now
        if known == now:
            continue
        if known and known[1] > now[1]:
            raise SourceWentBack
        writes[record_id] = row  # the later one, if a record comes twice
        if known and known[0] == now[0]:
            continue  # a field that the profile does not read has changed: only the version and the time are new
        changed += 1
        if known:
            taken.remove(record_id, str(known[0]))
        taken.add(record_id, str(now[0]))
    if writes:
        cursor.execute(
            "DELETE FROM fm_pipeline.source_records WHERE entity = %s AND record_id = ANY(%s)",
            (resolution.entity, list(writes)),
        )
        # COPY sends rows apart from its statement: a server that logs statements must not log records.
        copy_rows(cursor, "fm_pipeline.source_records", columns, writes.values())
    return changed, new


def _is_complete(cursor: Cursor, door: DataApiDoor, resolution: Resolution, rows: int, new: set[int]) -> bool:
    """Return whether FileMaker has exactly the records that are known now; see the module."""
    if len(new) >= LARGEST_PAGE:
        return False
    if rows == 0:
        return door.sample(resolution.layout, []).found_count == 0
    newest = len(new) + (rows > len(new))
    try:
        page = door.page(resolution.layout, rows - newest + 1, newest)
    except RecordMissing:  # it has fewer
        return False
    cursor.execute(
        "SELECT record_id FROM fm_pipeline.source_records WHERE entity = %s ORDER BY record_id DESC LIMIT %s",
        (resolution.entity, newest),
    )
    known = [row[0] for row in reversed(cursor.fetchall())]
    return page.found_count == rows and [record.record_id for record in page.records] == known


def _delete_missing(
    cursor: Cursor,
    door: DataApiDoor,
    profile: Profile,
    resolution: Resolution,
    taken: DigestedRows,
    page_size: int,
) -> int:
    """Delete the records whose ids FileMaker does not have; return how many. None without a layout for the ids."""
    mapping = profile.entities[resolution.entity].sync
    spelled = {name.casefold(): name for name in door.tables()}
    layout = next((spelled[n.casefold()] for n in (mapping and mapping.ids) or () if n.casefold() in spelled), None)
    if layout is None:
        return 0
    ids: array[int] = read_completely(partial(door.page, layout), _ids, page_size=page_size)
    _list(cursor, ((record_id, None) for record_id in ids))
    return _delete_others(cursor, resolution, taken)


def _list(cursor: Cursor, versions: Iterable[tuple[int, int | None]]) -> None:
    """Put the ids and versions that FileMaker has into the temporary table `listed`: they may be millions."""
    cursor.execute("CREATE TEMP TABLE listed (record_id bigint, mod_id bigint) ON COMMIT DROP")
    copy_rows(cursor, "listed", ("record_id", "mod_id"), versions)
    cursor.execute("ANALYZE listed")  # nothing else does it for a temporary table


def _delete_others(cursor: Cursor, resolution: Resolution, taken: DigestedRows) -> int:
    """Delete the records that are not `listed`; return how many."""
    cursor.execute(
        "DELETE FROM fm_pipeline.source_records s WHERE entity = %s AND NOT EXISTS"
        " (SELECT FROM listed l WHERE l.record_id = s.record_id) RETURNING record_id, fields::text",
        (resolution.entity,),
    )
    gone = cursor.fetchall()
    for record_id, fields in gone:
        taken.remove(record_id, fields)
    return len(gone)


def _ids(records: Iterable[FileMakerRecord]) -> array[int]:
    return array("q", (record.record_id for record in records))


def _replace_extraction(cursor: Cursor, result: ExtractionResult, now: dt.datetime) -> None:
    cursor.execute(
        "UPDATE fm_pipeline.source_extractions SET extraction_id = %(id)s, finished_at = %(now)s,"
        " found_count = %(rows)s, row_count = %(rows)s, digest = %(digest)s WHERE entity = %(entity)s",
        {
            "id": str(result.extraction_id),
            "now": now,
            "rows": result.row_count,
            "digest": result.digest,
            "entity": result.entity,
        },
    )
    cursor.execute(
        "UPDATE fm_pipeline.source_readings SET extraction_id = %s WHERE entity = %s",
        (str(result.extraction_id), result.entity),
    )
