"""A watched directory, and history written as an import would write it, without one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.model import FoundFile, SetAside
from fm_pipeline.dicom.paths import path_hash, printable
from fm_pipeline.dicom.scan.walk import Met, scan
from fm_pipeline.dicom.watch.poll import PollResult, poll
from fm_pipeline_tests.support.waiting import wait_until

QUIET = 30.0
SOON = timedelta(seconds=5)
LATER = timedelta(minutes=2)
MUCH_LATER = timedelta(hours=1)


def last_change(root: Path) -> datetime:
    """When something below a directory, or the directory, changed last by the clock of its file system."""
    everything = [root, *root.rglob("*")] if root.exists() else [root.parent]
    newest_ns = max(each.lstat().st_ctime_ns for each in everything)
    return datetime.fromtimestamp(newest_ns // 10**9, UTC) + timedelta(microseconds=newest_ns % 10**9 // 1000 + 1)


def let_the_clock_go_on(root: Path) -> None:
    """Wait until a change below a directory gets a later time stamp than all that is there: they are some ms apart."""
    before, scratch = last_change(root), root.parent / "scratch"

    def is_later() -> bool:
        scratch.touch()
        return last_change(scratch) > before

    wait_until(is_later)
    scratch.unlink()


def record(connection: Connection, met: Iterable[Met], status: str = "imported", job_status: str = "completed") -> int:
    """History of a job that had these files, without a word about what was in them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fm_pipeline.import_jobs (job_type, source_path, requested_by, status)"
            " VALUES ('manual', '/', 'test', %s) RETURNING id",
            (job_status,),
        )
        ((job_id,),) = cursor.fetchall()
        rows = []
        for each in met:
            found = each if isinstance(each, FoundFile) else None
            rows.append(
                (
                    job_id,
                    printable(each.path),
                    printable(os.path.basename(each.path)),
                    path_hash(each.path),
                    found.size if found else None,
                    found.modified_ns if found else None,
                    found.changed_ns if found else None,
                    "skipped" if isinstance(each, SetAside) else status,
                    each.reason if isinstance(each, SetAside) else None,
                )
            )
        execute_values(
            cursor,
            "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, file_size_bytes,"
            " modified_ns, changed_ns, status, reason) VALUES %s",
            rows,
        )
    connection.commit()
    return int(job_id)


class Watched:
    """A directory, its memory, and a clock that goes by the last change in it, however long ago that was."""

    def __init__(self, connection: Connection, database: ReconnectingConnection, root: Path) -> None:
        self.connection, self.database, self.root = connection, database, root
        self.ticks = 0

    def write(self, name: str, content: bytes = b"content") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def tick(self, later: timedelta = LATER, **limits: Any) -> PollResult:
        self.ticks += 1  # no two at the same time
        now = last_change(self.root) + later + timedelta(milliseconds=self.ticks)
        return poll(self.connection, str(self.root), now=now, quiet_seconds=QUIET, **limits)

    def names(self, later: timedelta = LATER, **limits: Any) -> set[str]:
        return {os.path.relpath(file.path, self.root) for file in self.tick(later, **limits).new_files}

    def import_all(self, status: str = "imported") -> None:
        record(self.connection, list(scan(str(self.root))), status)

    def settle(self) -> None:
        """Everything is imported, and the next tick has nothing to do."""
        self.import_all()
        self.tick()
        assert self.tick(MUCH_LATER).directories_listed == 0
        let_the_clock_go_on(self.root)
