"""The sensor's tick on shares whose times say less than a disk's: folders that keep theirs, clocks that differ."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.migrate import is_migrated, migrate
from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.watch.rules import LISTED_AGAIN_AFTER, LISTED_AGAIN_WHERE_UNMOVED, clock_behind
from fm_pipeline.dicom.watch.share_times import describe_watching
from fm_pipeline_tests.dicom.watch.random_shares import search
from fm_pipeline_tests.dicom.watch.watching import LATER, MUCH_LATER, SOON, Watched, last_change, record

DUE = MUCH_LATER + LATER + SOON  # the folders were listed last at LATER


def put_without_a_trace(watched: Watched, name: str) -> Path:
    """A new file in a folder that keeps its time, as on cloud and union mounts."""
    folder = (watched.root / name).parent
    before = folder.stat()
    path = watched.write(name)
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path


def test_a_new_file_in_a_folder_that_keeps_its_time_is_found_within_the_hour(watched: Watched) -> None:
    watched.write("a/1.dcm")
    watched.write("b/1.dcm")
    watched.settle()
    put_without_a_trace(watched, "a/2.dcm")
    assert watched.names(MUCH_LATER) == set()
    assert watched.names(DUE) == {"a/2.dcm"}
    assert timedelta(hours=1) == LISTED_AGAIN_AFTER


def test_where_a_folder_kept_its_time_every_folder_is_listed_again_after_minutes_and_the_tick_says_so(
    watched: Watched,
) -> None:
    for name in ("a/1.dcm", "b/1.dcm"):
        watched.write(name)
    watched.settle()
    put_without_a_trace(watched, "a/2.dcm")
    first = watched.tick(DUE)
    assert first.unmoved_since is not None
    record(watched.connection, first.new_files)
    watched.tick(DUE + SOON)  # the folder of the new file settles
    put_without_a_trace(watched, "b/2.dcm")
    found = watched.tick(DUE + LISTED_AGAIN_WHERE_UNMOVED + LATER)
    assert [os.path.basename(file.path) for file in found.new_files] == ["2.dcm"]
    assert found.unmoved_since == first.unmoved_since


def test_a_file_that_came_a_moment_ago_is_no_proof_that_a_folder_keeps_its_time(watched: Watched) -> None:
    """An NFS or SMB client may still hold the folder's old time."""
    watched.write("a/1.dcm")
    watched.settle()
    with watched.connection.cursor() as cursor:
        cursor.execute("UPDATE fm_pipeline.watched_directories SET listed_at = listed_at - interval '2 hours'")
    put_without_a_trace(watched, "a/2.dcm")
    found = watched.tick(LATER)
    assert [os.path.basename(file.path) for file in found.new_files] == ["2.dcm"]
    assert found.unmoved_since is None


def test_a_file_that_is_rewritten_in_place_is_found_within_the_hour(watched: Watched) -> None:
    path = watched.write("a/1.dcm", b"before")
    watched.settle()
    facts = path.stat()
    path.write_bytes(b"after!")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert watched.names(MUCH_LATER) == set()
    found = watched.tick(DUE)
    assert [file.path for file in found.new_files] == [str(path)]
    assert found.unmoved_since is None


def test_listing_again_takes_a_quarter_of_a_tick_and_goes_on_with_the_next(watched: Watched) -> None:
    for number in range(60):
        watched.write(f"{number}/1.dcm")
    watched.settle()
    new = [put_without_a_trace(watched, f"{number}/2.dcm") for number in range(0, 60, 7)]
    given: set[str] = set()
    for ticks in range(1, 60):  # noqa: B007
        seconds = iter(range(100_000))
        result = watched.tick(DUE, time_budget=100, clock=lambda s=seconds: float(next(s)))
        assert result.directories_listed < 40
        given |= {file.path for file in result.new_files}
        if given == set(map(str, new)):
            break
    assert given == set(map(str, new))
    assert ticks > 1


def test_a_tick_says_since_when_every_folder_was_listed(watched: Watched) -> None:
    for number in range(3):
        watched.write(f"{number}/1.dcm")
    assert watched.tick().oldest_listing is not None
    watched.import_all()
    watched.tick()
    oldest = watched.tick(MUCH_LATER).oldest_listing
    assert oldest is not None
    assert last_change(watched.root) < oldest < last_change(watched.root) + 2 * LATER
    again = watched.tick(DUE).oldest_listing
    assert again is not None
    assert again > last_change(watched.root) + MUCH_LATER


def test_the_clock_of_a_share_is_behind_if_what_changed_since_the_last_look_says_that_it_changed_before() -> None:
    looked = datetime(2025, 11, 1, 12, tzinfo=UTC)
    now = looked + timedelta(seconds=30)

    def stamped(at: datetime) -> tuple[int, int]:
        return int(at.timestamp() * 1e9), 0

    assert clock_behind(stamped(looked + timedelta(seconds=10)), looked, now) == 0
    assert clock_behind(stamped(looked - timedelta(seconds=2)), looked, now) == 0  # FAT counts in two seconds
    assert clock_behind(stamped(looked - timedelta(minutes=10)), looked, now) == 630
    assert clock_behind(stamped(looked + timedelta(days=1)), looked, now) == 0


def test_a_tick_measures_how_far_the_clock_of_a_share_is_behind(watched: Watched) -> None:
    watched.write("a/1.dcm")
    watched.settle()  # an hour before the next change, by the clock of the ticks
    watched.write("a/2.dcm")
    behind = watched.tick(MUCH_LATER + SOON).clock_behind_seconds
    assert behind == pytest.approx((MUCH_LATER + SOON).total_seconds(), abs=10)


def test_a_database_that_lacks_a_migration_is_not_taken_for_one_that_has_them_all(
    connection: Connection, ledger: str
) -> None:
    assert is_migrated(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE fm_pipeline.alembic_version SET version_num = '0007'")
        assert not is_migrated(connection)
    connection.rollback()
    migrate(ledger)
    assert is_migrated(connection)


def test_what_is_known_of_a_share_is_told_without_a_look(watched: Watched) -> None:
    root, now = str(watched.root), last_change(watched.root.parent) + 2 * DUE
    assert describe_watching(watched.connection, root, now=now, zone=UTC) == []
    watched.write("a/1.dcm")
    watched.settle()
    put_without_a_trace(watched, "a/2.dcm")
    watched.tick(DUE)
    said = describe_watching(watched.connection, root, now=now, zone=UTC)
    assert said[0].startswith("The sensor looked at the watched directory at 20")
    assert said[1].startswith("Every folder was listed within the last ")
    assert said[2].startswith("On this share the time of a folder stays as it is")
    shutil.rmtree(watched.root)
    watched.tick(DUE)
    assert describe_watching(watched.connection, root, now=now, zone=UTC)[1].startswith("Alarm: The root is not there")


def test_whatever_a_share_does_with_times_every_file_is_found(
    connection: Connection, database: ReconnectingConnection, tmp_path: Path
) -> None:
    search(connection, database, tmp_path / "hospital", 6, seed=1)
