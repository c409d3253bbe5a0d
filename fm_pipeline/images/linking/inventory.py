"""The inventory: a stored listing of the bulk dump, which is compared with a new one at the end."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.copy import copy_rows
from fm_pipeline.storage.bucket import Bucket, StoredObject

_NAME = re.compile(r"0*([1-9][0-9]{0,17})(\.[A-Za-z0-9]{1,8})?", re.ASCII)
_STEP = 1000  # keys of a page


@dataclass(frozen=True)
class Inventory:
    """Totals of a listing. `digest` covers keys, sizes and ETags."""

    objects: int
    bytes: int
    without_recid: int
    digest: str


@dataclass(frozen=True)
class Changes:
    """Keys by which a listing differs from the inventory."""

    added: frozenset[str]
    removed: frozenset[str]
    changed: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def recid_of(key: str, prefix: str) -> int | None:
    """Return the record id in the name of a file of the bulk dump (`2.jpg`, `6066.JPG`); None for other names."""
    name = key.removeprefix(prefix)
    match = _NAME.fullmatch(name) if key.startswith(prefix) else None
    return int(match[1]) if match else None


def digest(objects: Iterable[StoredObject]) -> str:
    """Return a digest of a listing, independent of its order."""
    content = hashlib.sha256()
    for found in sorted(objects, key=itemgetter(0)):
        content.update(f"{found.key}\0{found.size}\0{found.etag}\n".encode("utf-8", "surrogatepass"))
    return content.hexdigest()


def take_inventory(
    connection: Connection,
    bucket: Bucket,
    *,
    now: datetime,
    run_id: str | None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Inventory:
    """List the bulk dump and store the listing; commits."""
    objects: list[StoredObject] = []
    for found in bucket.list(bucket.bulk_prefix):
        if found.key.endswith("/") and not found.size:  # a folder as consoles make them
            continue
        objects.append(found)
        if len(objects) % _STEP == 0:
            on_progress(len(objects))
    on_progress(len(objects))
    recids = (recid_of(found.key, bucket.bulk_prefix) for found in objects)
    inventory = Inventory(
        len(objects),
        sum(found.size for found in objects),
        sum(recid is None for recid in recids),
        digest(objects),
    )
    rows = ((*found, recid_of(found.key, bucket.bulk_prefix)) for found in objects)
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE fm_pipeline.bulk_dump_objects IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute("DELETE FROM fm_pipeline.bulk_dump_objects")
        copy_rows(cursor, "fm_pipeline.bulk_dump_objects", ("key", "size", "etag", "modified", "recid"), rows)
        cursor.execute(
            "INSERT INTO fm_pipeline.bulk_dump_inventories (id, run_id, listed_at, bucket, prefix, objects, bytes,"
            " digest) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(str(uuid.uuid4()), run_id, now, bucket.name, bucket.bulk_prefix),
                *(inventory.objects, inventory.bytes, inventory.digest),
            ),
        )
    connection.commit()
    return inventory


def read_inventory(cursor: Cursor) -> list[StoredObject]:
    """Return the stored listing of the bulk dump."""
    cursor.execute('SELECT key, size, etag, modified FROM fm_pipeline.bulk_dump_objects ORDER BY key COLLATE "C"')
    return [StoredObject(*row) for row in cursor.fetchall()]


def changes_since(before: Iterable[StoredObject], bucket: Bucket) -> Changes:
    """Compare the current bulk dump with a listing, by key, size and ETag."""
    old: Mapping[str, tuple[int, str]] = {found.key: (found.size, found.etag) for found in before}
    new = {
        found.key: (found.size, found.etag)
        for found in bucket.list(bucket.bulk_prefix)
        if found.size or not found.key.endswith("/")
    }
    return Changes(
        frozenset(new.keys() - old.keys()),
        frozenset(old.keys() - new.keys()),
        frozenset(key for key in new.keys() & old.keys() if new[key] != old[key]),
    )
