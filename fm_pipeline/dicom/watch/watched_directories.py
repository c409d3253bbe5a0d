"""The tables of watched roots, directories and files, read and written in batches."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from fm_pipeline.dicom.paths import path_hash, printable, real_path
from fm_pipeline.dicom.watch.rules import FutureTimes

ROWS_AT_ONCE = 1_000


@dataclass(slots=True)
class WatchedRoot:
    """A row of `watched_roots`.

    Attributes:
        round_completed_at: when the mtimes of all settled directories had been checked, by our clock.
        unmoved_since: since when directories of this root are known to get files without a change of their mtime.
        clock_behind_seconds: how far the share's clock is behind ours, at most.
        ticked_at: the time of the last tick.
    """

    id: int
    mount_point: str
    round_position: str | None
    alarm: str | None
    round_completed_at: datetime | None = None
    unmoved_since: datetime | None = None
    clock_behind_seconds: float = 0.0
    ticked_at: datetime | None = None


@dataclass(slots=True)
class WatchedDirectory:
    """A row of `watched_directories`.

    Attributes:
        settled_ns: the mtime that it had when no file in it was new or changed, by the history; None: list it again.
        seen: set if its mtime is in the future.
        fingerprint: of its entries, when history knew all of them.
    """

    path: str
    key: str
    is_mount: bool = False
    settled_ns: int | None = None
    seen: FutureTimes | None = None
    fingerprint: str | None = None


_COLUMNS = "directory, path_hash::text, is_mount, settled_ns, seen_ns, seen_since, fingerprint::text"


def remember_root(cursor: Cursor, root: str, mount_point: str) -> WatchedRoot:
    """Return the row of a root, created if necessary, and locked so that two ticks do not overlap."""
    cursor.execute(
        "INSERT INTO fm_pipeline.watched_roots (path_hash, directory, mount_point) VALUES (%s, %s, %s)"
        " ON CONFLICT (path_hash) DO NOTHING",
        (path_hash(root), printable(root), printable(mount_point)),
    )
    found = find_root(cursor, root)
    assert found is not None  # noqa: S101  # the previous statement created it
    remember_directories(cursor, found.id, [root])
    return found


def find_root(cursor: Cursor, root: str, *, lock: bool = True) -> WatchedRoot | None:
    """Return the row of a root, or None; locked unless it is only shown."""
    cursor.execute(
        "SELECT id, mount_point, round_position::text, alarm, round_completed_at, unmoved_since, clock_behind_seconds,"  # noqa: S608
        f" ticked_at FROM fm_pipeline.watched_roots WHERE path_hash = %s{' FOR UPDATE' if lock else ''}",
        (path_hash(root),),
    )
    row = cursor.fetchone()
    return WatchedRoot(row[0], real_path(row[1]), *row[2:]) if row else None


def remember_directories(cursor: Cursor, root_id: int, paths: Iterable[str]) -> None:
    """Insert rows for directories that have none."""
    execute_values(
        cursor,
        "INSERT INTO fm_pipeline.watched_directories (root_id, path_hash, directory) VALUES %s ON CONFLICT DO NOTHING",
        [(root_id, path_hash(path), printable(path)) for path in paths],
        page_size=ROWS_AT_ONCE,
    )


def unsettled(cursor: Cursor, root_id: int, before: datetime) -> list[WatchedDirectory]:
    """Return some unsettled directories that were not listed in this tick, least recently listed first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM fm_pipeline.watched_directories"  # noqa: S608
        " WHERE root_id = %s AND settled_ns IS NULL AND (listed_at IS NULL OR listed_at < %s)"
        " ORDER BY listed_at NULLS FIRST LIMIT %s",
        (root_id, before, ROWS_AT_ONCE),
    )
    return _rows(cursor)


def settled_not_listed_since(cursor: Cursor, root_id: int, moment: datetime) -> list[WatchedDirectory]:
    """Return some settled directories that were not listed since a moment, least recently listed first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM fm_pipeline.watched_directories"  # noqa: S608
        " WHERE root_id = %s AND settled_ns IS NOT NULL AND (listed_at IS NULL OR listed_at < %s)"
        " ORDER BY listed_at NULLS FIRST LIMIT %s",
        (root_id, moment, ROWS_AT_ONCE),
    )
    return _rows(cursor)


def oldest_listing(cursor: Cursor, root_id: int) -> datetime | None:
    """Return the time of the oldest listing of all directories; None if a directory was never listed."""
    cursor.execute(
        "SELECT CASE WHEN count(*) = count(listed_at) THEN min(listed_at) END FROM fm_pipeline.watched_directories"
        " WHERE root_id = %s",
        (root_id,),
    )
    row = cursor.fetchone()
    return row[0] if row else None


def settled_after(cursor: Cursor, root_id: int, position: str | None) -> list[WatchedDirectory]:
    """Return some settled directories in the order of their keys, behind a position."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM fm_pipeline.watched_directories"  # noqa: S608
        " WHERE root_id = %s AND settled_ns IS NOT NULL AND (%s::uuid IS NULL OR path_hash > %s::uuid)"
        " ORDER BY path_hash LIMIT %s",
        (root_id, position, position, ROWS_AT_ONCE),
    )
    return _rows(cursor)


def fingerprints(cursor: Cursor, root_id: int, paths: Sequence[str]) -> dict[str, str]:
    """Return the fingerprints of directories whose files are all in history, by path."""
    keys = {path_hash(path): path for path in paths}
    cursor.execute(
        "SELECT path_hash::text, fingerprint::text FROM fm_pipeline.watched_directories"
        " WHERE root_id = %s AND path_hash = ANY(%s::uuid[]) AND fingerprint IS NOT NULL",
        (root_id, list(keys)),
    )
    return {keys[key]: value for key, value in cursor.fetchall()}


def save(cursor: Cursor, root_id: int, directories: Sequence[WatchedDirectory], now: datetime) -> None:
    """Save the state of directories that a tick or a scan has listed."""
    execute_values(
        cursor,
        "INSERT INTO fm_pipeline.watched_directories"
        " (root_id, path_hash, directory, is_mount, settled_ns, seen_ns, seen_since, fingerprint, listed_at) VALUES %s"
        " ON CONFLICT (root_id, path_hash) DO UPDATE SET is_mount = EXCLUDED.is_mount,"
        " settled_ns = EXCLUDED.settled_ns, seen_ns = EXCLUDED.seen_ns, seen_since = EXCLUDED.seen_since,"
        " fingerprint = EXCLUDED.fingerprint, listed_at = EXCLUDED.listed_at",
        [
            (
                root_id,
                each.key,
                printable(each.path),
                each.is_mount,
                each.settled_ns,
                int(each.seen.facts) if each.seen else None,
                each.seen.since if each.seen else None,
                each.fingerprint,
                now,
            )
            for each in directories
        ],
        template="(%s, %s::uuid, %s, %s, %s, %s, %s, %s::uuid, %s)",
        page_size=ROWS_AT_ONCE,
    )


def forget(cursor: Cursor, root_id: int, paths: Sequence[str]) -> None:
    """Delete the rows of directories that are gone. History keeps their files.

    Their parents have to be listed again, so that a directory that comes back is found.
    """
    if not paths:
        return
    cursor.execute(
        "DELETE FROM fm_pipeline.watched_directories WHERE root_id = %s AND path_hash = ANY(%s::uuid[])",
        (root_id, [path_hash(path) for path in paths]),
    )
    cursor.execute(
        "UPDATE fm_pipeline.watched_directories SET settled_ns = NULL"
        " WHERE root_id = %s AND path_hash = ANY(%s::uuid[])",
        (root_id, [path_hash(path) for path in {os.path.dirname(path) for path in paths}]),
    )


def future_files(cursor: Cursor, root_id: int) -> dict[str, FutureTimes]:
    """Return files with times in the future, by path hash."""
    cursor.execute(
        "SELECT path_hash::text, facts, seen_since FROM fm_pipeline.watched_files WHERE root_id = %s", (root_id,)
    )
    return {key: FutureTimes(facts, since) for key, facts, since in cursor.fetchall()}


def save_future_files(cursor: Cursor, root_id: int, seen: dict[str, FutureTimes]) -> None:
    """Replace the files with times in the future."""
    cursor.execute("DELETE FROM fm_pipeline.watched_files WHERE root_id = %s", (root_id,))
    execute_values(
        cursor,
        "INSERT INTO fm_pipeline.watched_files (root_id, path_hash, facts, seen_since) VALUES %s",
        [(root_id, key, each.facts, each.since) for key, each in seen.items()],
        page_size=ROWS_AT_ONCE,
    )


def end_of_tick(cursor: Cursor, root: WatchedRoot, now: datetime, *, round_completed: bool) -> None:
    """Save where the next tick continues."""
    cursor.execute(
        "UPDATE fm_pipeline.watched_roots SET round_position = %s::uuid, alarm = %s, ticked_at = %s,"
        " alarm_since = CASE WHEN %s IS NULL THEN NULL ELSE coalesce(alarm_since, %s) END,"
        " round_completed_at = CASE WHEN %s THEN %s ELSE round_completed_at END, unmoved_since = %s,"
        " clock_behind_seconds = %s WHERE id = %s",
        (
            *(root.round_position, root.alarm, now, root.alarm, now, round_completed, now),
            *(root.unmoved_since, root.clock_behind_seconds, root.id),
        ),
    )


def _rows(cursor: Cursor) -> list[WatchedDirectory]:
    return [
        WatchedDirectory(
            path=real_path(directory),
            key=key,
            is_mount=is_mount,
            settled_ns=settled_ns,
            seen=FutureTimes(str(seen_ns), seen_since) if seen_since is not None else None,
            fingerprint=fingerprint,
        )
        for directory, key, is_mount, settled_ns, seen_ns, seen_since, fingerprint in cursor.fetchall()
    ]
