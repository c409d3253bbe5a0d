"""Random changes on shares whose folders keep, lose or mistake their times, against the sensor's ticks.

`python -m fm_pipeline_tests.dicom.watch.random_shares --count 10`: rounds of 100 shares, each with a seed, which it
names: begin with that to go on. Exit code 0 if every file was found.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.watch.poll import poll
from fm_pipeline.dicom.watch.rules import LISTED_AGAIN_AFTER
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.dicom.watch.watching import QUIET, Watched, last_change, record
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.support.searching import count_and_seed, say
from fm_pipeline_tests.support.services import memory_folder

ROUND = 100
_FOLDERS = ("a", "b", "a/c", "#recycle", "a/.snapshot")
Change = tuple[str, str, int]  # what is done, in which folder, and when the next tick is (minutes)


def changes() -> SearchStrategy[list[Change]]:
    """What happens on a share between two ticks."""
    kinds = ("new", "new without a trace", "rewritten", "moved", "back", "future", "gone", "nothing")
    return st.lists(st.tuples(st.sampled_from(kinds), st.sampled_from(_FOLDERS), st.integers(1, 90)), max_size=8)


def see(watched: Watched, happens: list[Change]) -> None:
    """Whatever happened, each file that is there hours later was given to a job as it is, and none that was deleted."""
    now = last_change(watched.root.parent) + timedelta(minutes=2)
    given_files: dict[str, tuple[int, int]] = {}

    def look() -> None:
        found = poll(watched.connection, str(watched.root), now=now, quiet_seconds=QUIET)
        record(watched.connection, found.new_files)
        for file in found.new_files:
            given_files[file.path] = (file.modified_ns, file.changed_ns)

    watched.write("a/0")
    for number, (kind, folder, minutes) in enumerate(happens):
        _HAPPENS[kind](watched, folder, number)
        now += timedelta(minutes=minutes)
        look()
    for _ in range(4):
        now += LISTED_AGAIN_AFTER + timedelta(minutes=1)
        look()
    there = {
        str(path): (path.stat().st_mtime_ns, path.stat().st_ctime_ns)
        for path in watched.root.rglob("*")
        if path.is_file() and not {"#recycle", ".snapshot"} & set(path.relative_to(watched.root).parts)
    }
    assert {path: given_files.get(path) for path in there} == there
    assert not [path for path in given_files if "#recycle" in path or ".snapshot" in path]


def _new(watched: Watched, folder: str, number: int) -> None:
    watched.write(f"{folder}/{number}")


def _without_a_trace(watched: Watched, folder: str, number: int) -> None:
    (watched.root / folder).mkdir(parents=True, exist_ok=True)
    before = (watched.root / folder).stat()
    watched.write(f"{folder}/{number}")
    os.utime(watched.root / folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def _rewritten(watched: Watched, folder: str, number: int) -> None:
    for path in sorted((watched.root / folder).glob("[0-9]*"))[:1]:
        before = path.stat()
        path.write_bytes(f"rewritten {number}".encode())
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _moved(watched: Watched, folder: str, number: int) -> None:
    if (watched.root / folder).exists():
        (watched.root / folder).rename(watched.root / f"moved {number}")


def _back(watched: Watched, folder: str, number: int) -> None:
    _new(watched, folder, number)
    os.utime(watched.root / folder, (number, number))


def _future(watched: Watched, folder: str, number: int) -> None:
    _new(watched, folder, number)
    os.utime(watched.root / folder, (4e9 + number, 4e9 + number))


def _gone(watched: Watched, folder: str, _number: int) -> None:
    shutil.rmtree(watched.root / folder, ignore_errors=True)


_HAPPENS: dict[str, Callable[[Watched, str, int], object]] = {
    "new": _new,
    "new without a trace": _without_a_trace,
    "rewritten": _rewritten,
    "moved": _moved,
    "back": _back,
    "future": _future,
    "gone": _gone,
    "nothing": lambda *_: None,
}


def search(connection: Connection, database: ReconnectingConnection, folder: Path, count: int, seed: int) -> None:
    """Look for changes of which the sensor misses a file."""

    @with_seed(seed)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(changes())
    def one(happens: list[Change]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE fm_pipeline.import_jobs, fm_pipeline.watched_roots RESTART IDENTITY CASCADE")
        connection.commit()
        shutil.rmtree(folder, ignore_errors=True)
        see(Watched(connection, database, folder), happens)

    one()


def main() -> int:
    """Rounds of random shares."""
    arguments = count_and_seed(
        "dicom-shares", __doc__, count=10, of="rounds of 100 shares", seed="of the first round"
    ).parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="dicom-shares-") as name,
        temporary_stack([DisposablePostgreSQL], parent=memory_folder()) as stack,
        empty_database(stack.service(DisposablePostgreSQL)) as url,
    ):
        migrate(url)
        with connect(url) as connection, ReconnectingConnection(url) as database:
            for seed in range(arguments.seed, arguments.seed + arguments.count):
                search(connection, database, Path(name) / "hospital", ROUND, seed)
                say(f"seed {seed}: {ROUND} shares, every file found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
