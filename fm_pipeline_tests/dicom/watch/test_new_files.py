"""The full scan that leaves out what history knows."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.errors import RootUnavailable
from fm_pipeline.dicom.model import SetAside, Unreadable
from fm_pipeline.dicom.scan.walk import Met, scan
from fm_pipeline.dicom.watch.new_files import NewFiles
from fm_pipeline.dicom.watch.poll import poll
from fm_pipeline_tests.dicom.watch.watching import let_the_clock_go_on, record


def new(
    database: ReconnectingConnection, root: Path, later: timedelta = timedelta(hours=1)
) -> tuple[list[Met], NewFiles]:
    scanning = NewFiles(database, str(root), now=datetime.now(UTC) + later)
    return list(scanning), scanning


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "hospital"
    for number in range(12):
        path = root / str(number % 3) / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)
    (root / "0" / "link").symlink_to("0.dcm")
    (root / "0" / "half.tmp").write_bytes(b"half")
    return root


def test_everything_is_new_to_an_empty_history(
    connection: Connection, database: ReconnectingConnection, root: Path
) -> None:
    met, scanning = new(database, root)
    assert sorted(each.path for each in met) == sorted(each.path for each in scan(str(root)))
    assert scanning.complete
    assert scanning.unchanged_files == 0


def test_what_history_knows_is_left_out_and_counted(
    connection: Connection, database: ReconnectingConnection, root: Path
) -> None:
    met, _ = new(database, root)
    record(connection, met)
    again, scanning = new(database, root)
    assert again == []
    assert (scanning.unchanged_files, scanning.complete) == (13, True)


@pytest.mark.hard_case(45)
def test_directories_that_are_as_they_were_need_no_look_into_history(
    connection: Connection, database: ReconnectingConnection, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met, _ = new(database, root)
    record(connection, met)
    new(database, root)
    monkeypatch.setattr("fm_pipeline.dicom.watch.history_lookup._known", None)
    monkeypatch.setattr("fm_pipeline.dicom.watch.new_files.look_up_history", None)
    again, scanning = new(database, root)
    assert again == []
    assert scanning.unchanged_files == 13


@pytest.mark.parametrize("change", ["content", "appended", "touched", "renamed", "replaced"])
@pytest.mark.hard_case(38)
def test_a_changed_file_is_new(
    connection: Connection, database: ReconnectingConnection, root: Path, change: str
) -> None:
    record(connection, list(scan(str(root))))
    new(database, root)
    let_the_clock_go_on(root)
    path = root / "1" / "4.dcm"
    if change == "content":
        path.write_bytes(b"other")
    elif change == "appended":
        with path.open("ab") as file:
            file.write(b"more")
    elif change == "touched":
        os.utime(path, (1, 1))
    elif change == "renamed":
        path = path.rename(root / "1" / "renamed.dcm")
    else:
        facts = path.stat()
        other = root / "1" / "other"
        other.write_bytes(b"XXXX")
        os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        other.rename(path)
    met, _ = new(database, root)
    assert [each.path for each in met] == [str(path)]


def test_what_is_set_aside_is_given_once(connection: Connection, database: ReconnectingConnection, root: Path) -> None:
    met, _ = new(database, root)
    aside = [each for each in met if isinstance(each, SetAside)]
    assert {each.reason for each in aside} == {"link_inside_root", "temporary_name"}
    record(connection, aside)
    again, _ = new(database, root)
    assert not any(isinstance(each, SetAside) for each in again)


@pytest.mark.hard_case(40)
def test_a_directory_that_cannot_be_read_makes_the_scan_incomplete(
    connection: Connection, database: ReconnectingConnection, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str | int) -> object:
        if path == str(root / "2"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    met, scanning = new(database, root)
    assert Unreadable(str(root / "2"), is_directory=True, reason="permission") in met
    assert not scanning.complete


@pytest.mark.hard_case(41)
def test_a_missing_root_is_an_error_and_an_empty_one_is_no_success(
    connection: Connection, database: ReconnectingConnection, root: Path
) -> None:
    record(connection, list(scan(str(root))))
    new(database, root)
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(RootUnavailable):
        new(database, root)
    root.mkdir()
    met, scanning = new(database, root)
    assert met == [Unreadable(str(root), is_directory=True, reason="root_empty")]
    assert not scanning.complete


@pytest.mark.hard_case(41)
def test_a_root_that_is_unmounted_in_mid_scan_is_reported(
    connection: Connection, database: ReconnectingConnection, root: Path
) -> None:
    scanning = NewFiles(database, str(root), now=datetime.now(UTC))
    met = iter(scanning)
    next(met)
    root.rename(root.with_name("elsewhere"))
    rest = list(met)
    assert rest[-1] == Unreadable(str(root), is_directory=True, reason="not_mounted")
    assert not scanning.complete


@pytest.mark.hard_case(42)
def test_what_orthanc_has_lost_is_new_again_though_nothing_changed_on_the_disk(
    connection: Connection, database: ReconnectingConnection, root: Path
) -> None:
    record(connection, list(scan(str(root))))
    new(database, root)
    assert new(database, root)[0] == []
    lost = str(root / "1" / "4.dcm")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE fm_pipeline.import_history SET missing_since = now() WHERE file_path = %s", (lost,))
    connection.commit()
    assert [each.path for each in new(database, root)[0]] == [lost]


@pytest.mark.hard_case(44)
def test_a_tick_of_the_sensor_does_not_wait_for_a_scan_that_is_under_way(
    connection: Connection, database: ReconnectingConnection, tables: str, root: Path
) -> None:
    scanning = iter(NewFiles(database, str(root), now=datetime.now(UTC)))
    next(scanning)
    with connect(tables) as another:
        with another.cursor() as cursor:
            cursor.execute("SET lock_timeout = '60s'")
        another.commit()
        result = poll(another, str(root), now=datetime.now(UTC) + timedelta(hours=1), quiet_seconds=30)
    assert len(result.new_files) == 12
    assert len(list(scanning)) == 13
