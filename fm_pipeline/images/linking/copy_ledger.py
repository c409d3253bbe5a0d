"""The copy ledger: source, target and state of each copy, and the result of inspecting its file.

States of a row: planned → copied → verified → linked; or failed with a reason, which the next run retries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from fm_pipeline.images.exports.metadata_table import MetadataRow

CopyState = Literal["planned", "copied", "verified", "linked", "failed"]
PAGE_SIZE = 500  # rows a statement


class CopyRecord(NamedTuple):
    """A row of the ledger."""

    recid: int
    patient_key: str
    batch_id: str
    source_key: str
    source_size: int
    source_etag: str
    target_key: str
    target_etag: str | None
    state: CopyState
    image_id: str | None


_COPY = (
    "c.recid, c.patient_key, c.batch_id::text, c.source_key, c.source_size, c.source_etag, c.target_key, c.target_etag,"
    " c.state, c.image_id::text"
)
_RECORD = "m.recid, m.line, m.filemaker_id::text, m.patient_ref, m.date_text, m.taken, m.category, m.note"


class InspectedFile(NamedTuple):
    """The result of inspecting a file; `reason` says why it is not a picture that can be shown.

    Attributes:
        sha256: of a picture; None if an earlier release has inspected it.
    """

    etag: str
    size: int
    reason: str | None
    mime_type: str | None = None
    width: int | None = None
    height: int | None = None
    sha256: str | None = None


def read_copies(connection: Connection) -> Iterator[CopyRecord]:
    """Yield all rows in the order of their record ids, read with a cursor of the server: there may be millions."""
    with connection.cursor("image_copies") as cursor:
        cursor.execute(f"SELECT {_COPY} FROM fm_pipeline.image_copies c ORDER BY recid")  # noqa: S608  # our own columns
        yield from map(CopyRecord._make, cursor)


def read_records(connection: Connection) -> Iterator[tuple[MetadataRow, CopyRecord | None]]:
    """Yield each record of the newest export with its row of the ledger, in the order of the record ids."""
    with connection.cursor("image_records") as cursor:
        cursor.execute(
            f"SELECT {_RECORD}, {_COPY} FROM fm_pipeline.image_metadata m"  # noqa: S608
            " LEFT JOIN fm_pipeline.image_copies c USING (recid) ORDER BY m.recid"
        )
        width = len(MetadataRow._fields)
        for row in cursor:
            copy = CopyRecord._make(row[width:])
            yield MetadataRow._make(row[:width]), copy if copy.state else None


def record_planned(cursor: Cursor, rows: Iterable[CopyRecord], now: datetime) -> None:
    """Store copies that are planned. An existing row starts over, unless nothing changed."""
    execute_values(
        cursor,
        """
        INSERT INTO fm_pipeline.image_copies AS c (recid, patient_key, batch_id, source_key, source_size, source_etag,
                                                   target_key, target_etag, state, image_id, planned_at)
        VALUES %s
        ON CONFLICT (recid) DO UPDATE SET
            patient_key = excluded.patient_key, batch_id = excluded.batch_id, source_key = excluded.source_key,
            source_size = excluded.source_size, source_etag = excluded.source_etag, target_key = excluded.target_key,
            target_etag = NULL, thumbnail_size = NULL, state = 'planned', reason = NULL, image_id = NULL,
            planned_at = excluded.planned_at, copied_at = NULL, verified_at = NULL, linked_at = NULL
        WHERE c.state IN ('failed', 'linked') OR (c.patient_key, c.batch_id, c.source_key, c.source_size,
              c.source_etag, c.target_key) IS DISTINCT FROM (excluded.patient_key, excluded.batch_id,
              excluded.source_key, excluded.source_size, excluded.source_etag, excluded.target_key)
        """,
        [(*row[:7], None, "planned", None, now) for row in rows],
        page_size=PAGE_SIZE,
    )


def record_copied(cursor: Cursor, copied: Sequence[tuple[int, str]], now: datetime) -> None:
    """Record copies that S3 has confirmed: (record id, ETag)."""
    _update(cursor, "target_etag = v.value, state = 'copied', copied_at = %(now)s", copied, now)


def record_verified(cursor: Cursor, verified: Sequence[tuple[int, str, int | None]], now: datetime) -> None:
    """Record copies that a listing has shown: (record id, ETag, size of the thumbnail)."""
    if verified:
        cursor.execute(
            "UPDATE fm_pipeline.image_copies c SET target_etag = v.etag, thumbnail_size = v.thumbnail,"
            " state = 'verified', verified_at = %s, reason = NULL"
            " FROM unnest(%s::bigint[], %s::text[], %s::integer[]) v (recid, etag, thumbnail) WHERE c.recid = v.recid",
            [now, *(list(column) for column in zip(*verified, strict=True))],
        )


def record_failed(cursor: Cursor, failed: Sequence[tuple[int, str]], now: datetime) -> None:
    """Record failed copies: (record id, reason)."""
    _update(cursor, "state = 'failed', reason = v.value", failed, now)


def record_linked(cursor: Cursor, linked: Sequence[tuple[int, str]], now: datetime) -> None:
    """Record images that are in Nexus: (record id, Nexus id). Part of the transaction that writes them."""
    _update(cursor, "state = 'linked', image_id = v.value::uuid, linked_at = %(now)s", linked, now)


def _update(cursor: Cursor, changes: str, rows: Sequence[tuple[int, str]], now: datetime) -> None:
    # One statement: in portions each of them would read the whole table.
    if rows:
        recids, values = zip(*rows, strict=True)
        cursor.execute(
            f"UPDATE fm_pipeline.image_copies c SET {changes}"  # noqa: S608  # constants
            " FROM unnest(%(recids)s::bigint[], %(values)s::text[]) v (recid, value) WHERE c.recid = v.recid",
            {"now": now, "recids": list(recids), "values": list(values)},
        )


def read_inspected(cursor: Cursor) -> dict[tuple[str, int], InspectedFile]:
    """Return the inspected files by ETag and size."""
    cursor.execute("SELECT etag, size, reason, mime_type, width, height, sha256 FROM fm_pipeline.image_files")
    return {(row[0], row[1]): InspectedFile(*row) for row in cursor.fetchall()}


def record_inspected(cursor: Cursor, facts: Iterable[InspectedFile], now: datetime) -> None:
    """Store the results of inspection, so that no file is read twice."""
    execute_values(
        cursor,
        "INSERT INTO fm_pipeline.image_files (etag, size, reason, mime_type, width, height, sha256, inspected_at)"
        " VALUES %s ON CONFLICT (etag, size) DO UPDATE SET reason = excluded.reason, mime_type = excluded.mime_type,"
        " width = excluded.width, height = excluded.height, sha256 = excluded.sha256,"
        " inspected_at = excluded.inspected_at WHERE image_files.reason IS NOT NULL OR image_files.sha256 IS NULL",
        [(*each, now) for each in {(each.etag, each.size): each for each in facts}.values()],
        page_size=PAGE_SIZE,
    )
