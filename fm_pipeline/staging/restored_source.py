"""Signs that FileMaker's file was restored from a backup, and what follows from them.

FileMaker raises the version of a record and the time of its modification with every edit, and gives no record id twice.
A file that was restored from a backup goes on from the state of the backup. So versions and times go back, and record
ids come again. Then a record that was edited or made after the restore can look like the one that is known.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping

from psycopg2.extensions import cursor as Cursor

# Times of modification as a server writes them: ISO, or MM/DD/YYYY from an older one. Others say nothing.
_DAY = r"""
CASE WHEN modified ~ '^\d{4}-\d\d-\d\d' THEN left(modified, 10)
     WHEN modified ~ '^\d\d/\d\d/\d{4}' THEN substr(modified, 7, 4) || '-' || left(modified, 2) || '-'
                                             || substr(modified, 4, 2) END
"""


class SourceWentBack(Exception):
    """The file was restored from a backup, or the account sees less of a record than before."""


def refuse_lower_versions(before: Mapping[int, int], now: Mapping[int, int]) -> None:
    """Compare the versions of records, by record id.

    Raises:
        SourceWentBack: one is lower.
    """
    if any(now.get(record_id, version) < version for record_id, version in before.items()):
        raise SourceWentBack


def refuse_earlier_times(cursor: Cursor, entity: str, since: dt.date, found: Collection[int]) -> None:
    """Compare the known times of modification with a find of all records that were modified since a day.

    Args:
        found: the ids of its records. Records that are gone are not known any more.

    Raises:
        SourceWentBack: a record that was modified since then is not among them.
    """
    cursor.execute(
        f"SELECT EXISTS (SELECT FROM fm_pipeline.source_records WHERE entity = %s AND {_DAY} >= %s"  # noqa: S608  # ours
        " AND NOT EXISTS (SELECT FROM unnest(%s::bigint[]) AS there(id) WHERE there.id = record_id))",
        (entity, since.isoformat(), list(found)),
    )
    if cursor.fetchone() == (True,):
        raise SourceWentBack


def note_restored(cursor: Cursor, now: dt.datetime, whole_before: dt.datetime) -> None:
    """Note it, and let every layout be read whole: those that come later in this run, the others by the next one.

    Args:
        whole_before: a layout that was read whole then is read whole again.
    """
    cursor.execute("UPDATE fm_pipeline.source_readings SET went_back_at = %s, whole_at = %s", (now, whole_before))


def remember_versions(cursor: Cursor, entity: str, source: str, layout: str) -> None:
    """Keep the versions of the known records, if they were read from there, until the end of the transaction."""
    cursor.execute(
        "CREATE TEMP TABLE versions_before ON COMMIT DROP AS SELECT record_id, mod_id FROM fm_pipeline.source_records"
        " WHERE entity = %(entity)s AND EXISTS (SELECT FROM fm_pipeline.source_extractions"
        " WHERE entity = %(entity)s AND source = %(source)s AND layout = %(layout)s)",
        {"entity": entity, "source": source, "layout": layout},
    )


def note_lower_versions(cursor: Cursor, entity: str, now: dt.datetime) -> None:
    """Note that the file was restored, if a record that has just been read has a lower version than before."""
    cursor.execute(
        "UPDATE fm_pipeline.source_readings SET went_back_at = %s WHERE entity = %s AND EXISTS (SELECT FROM"
        " versions_before b JOIN fm_pipeline.source_records r ON r.entity = %s AND r.record_id = b.record_id"
        " WHERE r.mod_id < b.mod_id)",
        (now, entity, entity),
    )


def was_restored(cursor: Cursor) -> bool:
    """Return whether it was noted since the last reimport or sync that changed Nexus."""
    cursor.execute("SELECT EXISTS (SELECT FROM fm_pipeline.source_readings WHERE went_back_at IS NOT NULL)")
    return cursor.fetchone() == (True,)


def forget_restored(cursor: Cursor) -> None:
    """Forget it: what FileMaker has is now in Nexus, and a person has agreed to it."""
    cursor.execute("UPDATE fm_pipeline.source_readings SET went_back_at = NULL WHERE went_back_at IS NOT NULL")
