"""Whether a layout is as it was when the plan read it, so that the reimport need not read it again.

Four things show this: FileMaker's number of records, its newest record, a find of records that were modified since the
day before, and a random sample of one record in a hundred, compared in full. If they do not, the layout is read.

A change that leaves both the number of records and the time of the modification as they were (an import without
auto-enter options, or a script) is found only if it is in the sample. Its records are then loaded by the next reimport,
because a plan always reads everything.
"""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from fm_pipeline.entities.resolution import Resolution, resolve
from fm_pipeline.filemaker.data_api.door import DataApiDoor
from fm_pipeline.filemaker.door import Door
from fm_pipeline.filemaker.errors import RecordMissing
from fm_pipeline.staging.extract import DigestedRows, ExtractionResult, canonical_rows, columns_of, parents_of
from fm_pipeline.staging.read_changes import read_changes

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from fm_pipeline.entities.profile import Profile
    from fm_pipeline.settings import Settings

TRUSTED_FOR = dt.timedelta(days=1)  # after it was read whole
SAMPLE = 0.01  # of the records
RECORDS_A_REQUEST = 10


def find_unchanged(
    door: Door, connection: Connection, profile: Profile, entity: str, settings: Settings, now: dt.datetime
) -> ExtractionResult | None:
    """Return the extraction that there is if nothing shows a change since; None if the layout must be read.

    Args, Raises: as `read_changes`.
    """
    if not isinstance(door, DataApiDoor):
        return None
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT extraction_id FROM fm_pipeline.source_readings JOIN fm_pipeline.source_extractions"
            " USING (entity, extraction_id) WHERE entity = %s AND whole_at BETWEEN %s AND %s",
            (entity, now - TRUSTED_FOR, now),
        )
        before = cursor.fetchone()
    if before is None:
        return None
    zone, size = ZoneInfo(settings.clinic_time_zone), settings.filemaker_page_size
    result = read_changes(door, connection, profile, entity, now=now, zone=zone, page_size=size)
    if result is None or str(result.extraction_id) != str(before[0]):
        return None
    resolution = resolve(profile, entity, door.tables(), door.fields, door.kind)
    with connection, connection.cursor() as cursor:
        return result if _sample_agrees(cursor, door, profile, resolution, result.row_count) else None


def _sample_agrees(cursor: Cursor, door: DataApiDoor, profile: Profile, resolution: Resolution, rows: int) -> bool:
    """Return whether records at random places are the known ones."""
    places = range(1, rows + 1, RECORDS_A_REQUEST)
    requests = max(round(len(places) * SAMPLE), 1)
    parents = parents_of(profile, resolution.entity)
    for offset in random.SystemRandom().sample(places, min(requests, len(places))):
        try:
            page = door.client.page(resolution.layout, offset, RECORDS_A_REQUEST)
        except RecordMissing:  # records went meanwhile, so that the offset is beyond the last one
            return False
        cursor.execute(
            "SELECT entity, record_id, mod_id, filemaker_key, patient_key, modified, fields::text"
            " FROM fm_pipeline.source_records WHERE entity = %s AND record_id = ANY(%s)",
            (resolution.entity, [record.record_id for record in page.records]),
        )
        known = set(cursor.fetchall())
        width = len(columns_of(()))
        found = {row[:width] for row in canonical_rows(resolution, page.records, parents, DigestedRows())}
        if page.found_count != rows or not found or found != known:
            return False
    return True
