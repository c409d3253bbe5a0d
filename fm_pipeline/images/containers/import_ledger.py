"""The state of each record in the import: table `fm_pipeline.waterfall_images`. Each change is a transaction."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from fm_pipeline.db.connection import transaction
from fm_pipeline.db.locks import AdvisoryLock, try_lock
from fm_pipeline.errors import LockStop
from fm_pipeline.images.containers.source import UnmarkedRecord
from fm_pipeline.images.nexus.batch_and_image_values import NewImage
from fm_pipeline.staging.origin import file_name

ImportState = Literal["listed", "uploaded", "linked", "marked", "skipped", "failed", "gone"]
_COLUMNS = "record_id, filemaker_key, state, container, passed_over, image, etag, image_id::text, attempts, mod_id"
_PAGE = 1000


@dataclass(frozen=True)
class ImportItem:
    """A row of the ledger. `image` and `etag` are set once the file is in S3.

    Attributes:
        mod_id: the record's modification id when the file was read; None if it was not read by this import.
    """

    record_id: int
    key: str
    state: ImportState
    container: str | None
    passed_over: Mapping[str, str]
    image: NewImage | None
    etag: str | None
    image_id: str | None
    attempts: int
    mod_id: int | None


class ImportLedger:
    """The ledger over a connection of its own, which is outside a transaction between two calls.

    Args:
        connection: held for the whole run: it carries the lock that lets only one run work.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def acquire_lock(self) -> None:
        """Take the lock that only one run can hold, until the connection ends.

        Raises:
            LockStop: another run holds it.
        """
        with self._transaction() as cursor:
            if not try_lock(cursor, AdvisoryLock("waterfall"), until="session"):
                raise LockStop(
                    "Another run is importing images from FileMaker at this moment.",
                    meaning="Two would read the same containers, and FileMaker Server is given one download at a time.",
                    remedy="Wait until it has ended, then start again.",
                )

    def replace_list(
        self, listed: Sequence[UnmarkedRecord], layout: str, source: str, *, run_id: str | None, now: datetime
    ) -> None:
        """Store a complete list. Records that are missing from it were marked by others, or deleted.

        Records whose file is linked stay: the mark may be our own, whose answer was lost. If the list before was of a
        file with another name, nothing is taken from the modification ids that were read then: pictures are compared.

        Args:
            source: `DataApiClient.source`.
        """
        own_id = str(uuid.uuid4())
        with self._transaction() as cursor:
            cursor.execute("SELECT source FROM fm_pipeline.waterfall_lists ORDER BY listed_at DESC LIMIT 1")
            before = (cursor.fetchone() or (None,))[0] or source
            if file_name(before) != file_name(source):
                cursor.execute("UPDATE fm_pipeline.waterfall_images SET mod_id = -1 WHERE mod_id IS NOT NULL")
            cursor.execute(
                "INSERT INTO fm_pipeline.waterfall_lists (id, run_id, listed_at, layout, records, source)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (own_id, run_id, now, layout, len(listed), source),
            )
            execute_values(
                cursor,
                "INSERT INTO fm_pipeline.waterfall_images AS w (record_id, list_id, filemaker_key) VALUES %s"
                " ON CONFLICT (record_id) DO UPDATE SET list_id = excluded.list_id,"
                " filemaker_key = excluded.filemaker_key,"
                # A removed mark requests the image again; so does another record with this record id.
                " state = CASE WHEN w.state IN ('marked', 'gone') OR w.filemaker_key <> excluded.filemaker_key"
                " THEN 'listed' ELSE w.state END,"
                " attempts = CASE WHEN w.state IN ('marked', 'gone') OR w.filemaker_key <> excluded.filemaker_key"
                " THEN 0 ELSE w.attempts END,"
                " image = CASE WHEN w.filemaker_key <> excluded.filemaker_key THEN NULL ELSE w.image END,"
                " image_id = CASE WHEN w.filemaker_key <> excluded.filemaker_key THEN NULL ELSE w.image_id END",
                [(each.record_id, own_id, each.key) for each in listed],
                page_size=_PAGE,
            )
            cursor.execute(
                "UPDATE fm_pipeline.waterfall_images SET state = 'gone', reason = 'marked_by_others_or_deleted'"
                " WHERE list_id <> %s AND state IN ('listed', 'uploaded', 'skipped', 'failed')",
                (own_id,),
            )

    def queue(self, limit: int | None) -> list[int]:
        """Return record ids in order: only the mark is missing, never tried, then the one not tried for longest."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT record_id FROM fm_pipeline.waterfall_images WHERE state NOT IN ('marked', 'gone')"
                " ORDER BY state <> 'linked', state <> 'uploaded', tried_at NULLS FIRST, record_id LIMIT %s",
                (limit,),
            )
            return [row[0] for row in cursor.fetchall()]

    def items(self, record_ids: Sequence[int]) -> list[ImportItem]:
        """Return rows in the given order."""
        with self._transaction() as cursor:
            cursor.execute(
                f"SELECT {_COLUMNS} FROM fm_pipeline.waterfall_images"  # noqa: S608  # our own words
                " WHERE record_id = ANY(%s) ORDER BY array_position(%s::bigint[], record_id)",
                (list(record_ids), list(record_ids)),
            )
            return [_item_of(row) for row in cursor.fetchall()]

    def records_with_same_id(self, key: str, record_id: int) -> list[int]:
        """Return other records that had this FileMaker id when they were last listed."""
        if not key:
            return []
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT record_id FROM fm_pipeline.waterfall_images WHERE filemaker_key = %s AND record_id <> %s"
                " ORDER BY record_id",
                (key, record_id),
            )
            return [row[0] for row in cursor.fetchall()]

    def owner_of(self, image_id: str) -> int | None:
        """Return the record that an image of Nexus came from, if the ledger has it."""
        with self._transaction() as cursor:
            cursor.execute("SELECT record_id FROM fm_pipeline.waterfall_images WHERE image_id = %s", (image_id,))
            row = cursor.fetchone()
            return row[0] if row else None

    def record_attempt(self, record_id: int, now: datetime) -> None:
        """Record that a record's turn begins."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE fm_pipeline.waterfall_images SET attempts = attempts + 1, tried_at = %s, reason = NULL"
                " WHERE record_id = %s",
                (now, record_id),
            )

    def record_upload(self, item: ImportItem, now: datetime) -> None:
        """Record that the file is in S3 and was verified there."""
        if item.image is None:
            raise ValueError("an uploaded file is that of an image")
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE fm_pipeline.waterfall_images SET state = 'uploaded', image = %s, etag = %s, container = %s,"
                " passed_over = %s, mod_id = %s, uploaded_at = %s, image_id = NULL WHERE record_id = %s",
                (
                    _image_as_json(item.image),
                    item.etag,
                    item.container,
                    json.dumps(dict(item.passed_over)),
                    item.mod_id,
                    now,
                    item.record_id,
                ),
            )

    def record_already_linked(self, record_id: int, image_id: str, now: datetime) -> None:
        """Record that Nexus already has the image. A record that had it with another record id is gone."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE fm_pipeline.waterfall_images SET state = 'gone', reason = 'gone', image_id = NULL"
                " WHERE image_id = %s AND record_id <> %s",
                (image_id, record_id),
            )
            record_linked(cursor, [(record_id, image_id)], now)

    def record_marked(self, record_id: int, now: datetime) -> None:
        """Record that FileMaker has the mark."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE fm_pipeline.waterfall_images SET state = 'marked', marked_at = %s, reason = NULL"
                " WHERE record_id = %s",
                (now, record_id),
            )

    def record_outcome(
        self, record_id: int, state: ImportState, reason: str, passed_over: Mapping[str, str] | None = None
    ) -> None:
        """Record that a record's turn ended without a mark."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE fm_pipeline.waterfall_images SET state = %s, reason = %s,"
                " passed_over = coalesce(%s, passed_over) WHERE record_id = %s",
                (state, reason, json.dumps(dict(passed_over)) if passed_over else None, record_id),
            )

    def imported(self) -> dict[int, str]:
        """Return FileMaker's ids by record id, of the records whose image an import has written into Nexus."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT record_id, filemaker_key FROM fm_pipeline.waterfall_images WHERE state IN ('linked', 'marked')"
            )
            return dict(cursor.fetchall())

    def count_by_container(self) -> dict[str, int]:
        """Count the images by container, over all runs."""
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT container, count(*) FROM fm_pipeline.waterfall_images"
                " WHERE state = 'marked' AND container IS NOT NULL GROUP BY 1"
            )
            return dict(cursor.fetchall())

    def count_left(self) -> int:
        """Count the records that are still to be imported."""
        with self._transaction() as cursor:
            cursor.execute("SELECT count(*) FROM fm_pipeline.waterfall_images WHERE state NOT IN ('marked', 'gone')")
            row = cursor.fetchone()
            return row[0] if row else 0

    def _transaction(self) -> AbstractContextManager[Cursor]:
        return transaction(self._connection)


def record_linked(cursor: Cursor, rows: Iterable[tuple[int, str]], now: datetime) -> None:
    """Record the images of Nexus that records became, in the transaction that wrote them.

    An image that is on record already keeps the time at which it was written.

    Args:
        rows: record id, Nexus id.
    """
    execute_values(
        cursor,
        "UPDATE fm_pipeline.waterfall_images w SET state = 'linked', image_id = v.image_id::uuid, linked_at ="
        " CASE WHEN w.image_id = v.image_id::uuid THEN coalesce(w.linked_at, v.now) ELSE v.now END"
        " FROM (VALUES %s) v (record_id, image_id, now) WHERE w.record_id = v.record_id",
        [(record_id, image_id, now) for record_id, image_id in rows],
    )


def _image_as_json(image: NewImage) -> str:
    return json.dumps(asdict(image) | {"taken": image.taken.isoformat()})


def _item_of(row: Sequence[Any]) -> ImportItem:
    record_id, key, state, container, passed_over, image, *rest = row
    known = NewImage(**{**image, "taken": date.fromisoformat(image["taken"])}) if image else None
    return ImportItem(record_id, key, state, container, passed_over, known, *rest)
