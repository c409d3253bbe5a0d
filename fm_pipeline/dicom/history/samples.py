"""Samples of the history, by which a check sees whether Orthanc was replaced, or restored from a backup."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor

SAMPLE = 250  # of the oldest rows, and as many of the newest


def stored_instances(cursor: Cursor) -> list[str]:
    """Return Orthanc's ids of instances that it should have: those that imports stored or found first, and last."""
    return _first_and_last(
        cursor,
        "h.status IN ('imported', 'already_there') AND h.removed_at IS NULL AND h.missing_since IS NULL",
    )


def taken_back_instances(cursor: Cursor) -> list[str]:
    """Return Orthanc's ids of instances that it should not have, because they were taken back."""
    return _first_and_last(
        cursor,
        "h.removal_id IS NOT NULL AND NOT EXISTS (SELECT FROM fm_pipeline.import_history again"
        " WHERE again.orthanc_instance_id = h.orthanc_instance_id AND again.status IN ('imported', 'already_there')"
        " AND again.removed_at IS NULL)",
    )


def _first_and_last(cursor: Cursor, condition: str) -> list[str]:
    cursor.execute(
        " UNION ".join(
            "(SELECT h.orthanc_instance_id FROM fm_pipeline.import_history h"  # noqa: S608  # our own words
            f" WHERE h.orthanc_instance_id IS NOT NULL AND {condition} ORDER BY h.id {order} LIMIT {SAMPLE})"
            for order in ("ASC", "DESC")
        )
    )
    return [instance for (instance,) in cursor.fetchall()]
