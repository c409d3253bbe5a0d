"""Polling the watched directory: new files, files that wait, and roots that cannot be trusted."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fm_pipeline.dicom.scan.excluded_folders import ExcludedFolders
from fm_pipeline.dicom.watch import poll as watch_module
from fm_pipeline.dicom.watch.new_files import NewFiles
from fm_pipeline_tests.dicom.watch.watching import LATER, MUCH_LATER, SOON, Watched, record


def test_new_files_are_found_in_every_directory_and_again_until_history_has_them(watched: Watched) -> None:
    for name in ("a.dcm", "2025/b.dcm", "2025/11/c.dcm"):
        watched.write(name)
    assert watched.names() == {"a.dcm", "2025/b.dcm", "2025/11/c.dcm"}
    assert watched.names() == {"a.dcm", "2025/b.dcm", "2025/11/c.dcm"}
    watched.import_all()
    assert watched.names() == set()


@pytest.mark.hard_case(45)
def test_when_nothing_has_changed_no_directory_is_listed(watched: Watched) -> None:
    for number in range(20):
        watched.write(f"{number % 5}/{number}.dcm")
    watched.settle()
    result = watched.tick(MUCH_LATER)
    assert (result.directories_asked, result.directories_listed, result.complete) == (6, 0, True)


@pytest.mark.hard_case(45)
def test_only_the_directory_that_changed_is_listed(watched: Watched) -> None:
    for number in range(20):
        watched.write(f"{number % 5}/{number}.dcm")
    watched.settle()
    watched.write("3/new.dcm")
    result = watched.tick()
    assert [os.path.basename(file.path) for file in result.new_files] == ["new.dcm"]
    assert result.directories_listed == 1


def test_a_new_directory_is_found_with_what_is_in_it(watched: Watched) -> None:
    watched.write("old/a.dcm")
    watched.settle()
    watched.write("new/deeper/b.dcm")
    assert watched.names() == {"new/deeper/b.dcm"}


def test_a_watched_directory_that_is_excluded_later_gives_no_new_file(watched: Watched) -> None:
    watched.write("private/old/1.dcm")
    watched.settle()
    watched.write("private/old/2.dcm")
    watched.write("private/3.dcm")
    assert watched.names(MUCH_LATER, excluded=ExcludedFolders("private")) == set()
    assert watched.tick(MUCH_LATER, excluded=ExcludedFolders("private")).directories_asked == 1


@pytest.mark.hard_case(44)
def test_what_arrived_while_the_sensor_was_off_is_found(watched: Watched) -> None:
    watched.write("a/1.dcm")
    watched.settle()
    watched.write("a/2.dcm")
    watched.write("b/3.dcm")
    assert watched.names(timedelta(days=7)) == {"a/2.dcm", "b/3.dcm"}


@pytest.mark.hard_case(44)
def test_a_burst_is_given_in_bounded_portions_and_none_is_left_out(watched: Watched) -> None:
    for number in range(50):
        watched.write(f"{number % 3}/{number}.dcm")
    given: set[str] = set()
    for _ in range(5):
        result = watched.tick(max_files=12)
        assert len(result.new_files) <= 12
        given |= {file.path for file in result.new_files}
        record(watched.connection, result.new_files)
    assert len(given) == 50
    assert not watched.tick(max_files=12).more


@pytest.mark.hard_case(45)
def test_a_tick_ends_when_its_time_is_over_and_the_next_goes_on(watched: Watched) -> None:
    for number in range(60):
        watched.write(f"{number}/a.dcm")
    given: set[str] = set()
    for ticks in range(1, 40):  # noqa: B007
        seconds = iter(range(10_000))
        result = watched.tick(time_budget=12, clock=lambda s=seconds: float(next(s)))
        assert result.directories_listed <= 12
        given |= {file.path for file in result.new_files}
        if result.complete:
            break
    assert len(given) == 60
    assert ticks > 4


@pytest.mark.hard_case(45)
def test_a_round_over_known_directories_goes_on_where_the_last_tick_ended(watched: Watched) -> None:
    for number in range(30):
        watched.write(f"{number}/a.dcm")
    watched.settle()
    (watched.root / "7" / "new.dcm").write_bytes(b"new")
    asked = 0
    for _ in range(12):
        seconds = iter(range(10_000))
        result = watched.tick(MUCH_LATER, time_budget=8, clock=lambda s=seconds: float(next(s)))
        asked += result.directories_asked
        if result.new_files:
            break
    assert [os.path.basename(file.path) for file in result.new_files] == ["new.dcm"]
    assert asked <= 31


@pytest.mark.hard_case(38)
def test_a_file_that_grows_is_waited_for_however_long_it_takes(watched: Watched) -> None:
    path = watched.write("slow.dcm", b"1")
    for _ in range(3):
        with path.open("ab") as file:
            file.write(b"more")
        result = watched.tick(SOON)
        assert (result.new_files, result.waiting) == ([], 1)
    assert watched.names(LATER) == {"slow.dcm"}


@pytest.mark.hard_case(38)
def test_a_copy_that_keeps_the_old_time_of_its_original_is_waited_for(watched: Watched) -> None:
    path = watched.write("old.dcm")
    os.utime(path, (0, 0))
    assert watched.tick(SOON).waiting == 1
    assert watched.names(LATER) == {"old.dcm"}


@pytest.mark.hard_case(38)
def test_a_time_in_the_future_is_believed_when_our_own_clock_has_seen_it_long_enough(watched: Watched) -> None:
    path = watched.write("future.dcm")
    future = (datetime.now(UTC) + timedelta(days=4_000)).timestamp()
    os.utime(path, (future, future))
    assert watched.tick(LATER).waiting == 1
    os.utime(path, (future + 1, future + 1))
    assert watched.tick(LATER + SOON).waiting == 1
    assert watched.tick(LATER + 2 * SOON).waiting == 1
    assert watched.names(2 * LATER) == {"future.dcm"}


@pytest.mark.hard_case(38)
def test_a_directory_with_a_time_in_the_future_settles_too(watched: Watched) -> None:
    watched.write("a/1.dcm")
    future = (datetime.now(UTC) + timedelta(days=4_000)).timestamp()
    os.utime(watched.root / "a", (future, future))
    watched.import_all()
    for number in range(4):
        result = watched.tick(LATER + number * SOON)
    assert result.directories_listed == 0


@pytest.mark.hard_case(38)
def test_a_directory_whose_time_is_beyond_the_numbers_of_postgresql_is_watched_as_any_other(watched: Watched) -> None:
    watched.write("a/1.dcm")
    year_2300 = 10_413_792_000
    os.utime(watched.root / "a", (year_2300, year_2300))
    assert watched.names() == {"a/1.dcm"}
    watched.import_all()
    for number in range(4):
        result = watched.tick(LATER + number * SOON)
    assert result.directories_listed == 0
    watched.write("a/2.dcm")
    assert watched.names() == {"a/2.dcm"}


@pytest.mark.hard_case(38)
def test_a_directory_whose_time_went_back_is_listed(watched: Watched) -> None:
    watched.write("a/1.dcm")
    watched.settle()
    watched.write("a/2.dcm")
    os.utime(watched.root / "a", (1, 1))
    assert watched.names() == {"a/2.dcm"}


@pytest.mark.hard_case(38)
def test_a_file_made_in_the_same_instant_in_which_its_directory_was_listed_is_found(watched: Watched) -> None:
    watched.write("a/1.dcm")
    watched.import_all()
    instant = os.stat(watched.root / "a").st_mtime_ns
    watched.tick(timedelta(0))  # the listing is as old as the time stamp: it does not settle
    watched.write("a/2.dcm")
    os.utime(watched.root / "a", ns=(instant, instant))
    assert watched.names() == {"a/2.dcm"}


@pytest.mark.hard_case(38)
def test_a_file_that_is_replaced_by_one_with_its_old_time_is_new_to_the_full_scan(watched: Watched) -> None:
    path = watched.write("a/1.dcm", b"before")
    watched.settle()
    facts = path.stat()
    path.write_bytes(b"after!")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert [each.path for each in NewFiles(watched.database, str(watched.root), now=datetime.now(UTC))] == [str(path)]


@pytest.mark.hard_case(38)
def test_temporary_names_are_not_given_and_the_final_name_is(watched: Watched) -> None:
    part = watched.write("a.dcm.partial")
    assert watched.names() == set()
    part.rename(watched.root / "a.dcm")
    assert watched.names() == {"a.dcm"}


def test_what_failed_is_left_to_the_full_scan(watched: Watched) -> None:
    path = watched.write("a.dcm")
    watched.import_all("failed")
    assert watched.names() == set()
    new = NewFiles(watched.database, str(watched.root), now=datetime.now(UTC))
    assert [each.path for each in new] == [str(path)]


@pytest.mark.hard_case(40)
def test_a_directory_that_cannot_be_read_is_an_alarm_and_the_rest_is_found(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.write("locked/1.dcm")
    watched.write("open/2.dcm")
    locked = str(watched.root / "locked")
    refuse(monkeypatch, locked)
    result = watched.tick()
    assert [(each.path, each.is_directory, each.reason) for each in result.alarms] == [(locked, True, "permission")]
    assert not result.complete
    assert [os.path.basename(file.path) for file in result.new_files] == ["2.dcm"]
    monkeypatch.undo()
    assert watched.names() == {"locked/1.dcm", "open/2.dcm"}


def refuse(monkeypatch: pytest.MonkeyPatch, directory: str) -> None:
    """The administrator may read everything, so the system's refusal is played."""
    real = os.scandir

    def scandir(path: str | int) -> object:
        if path == directory:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.hard_case(41)
def test_a_missing_root_pauses_and_nothing_is_forgotten(watched: Watched) -> None:
    watched.write("a/1.dcm")
    watched.settle()
    watched.root.rename(watched.root.with_name("elsewhere"))
    result = watched.tick()
    assert (result.paused, result.new_files, result.complete) == ("root_missing", [], False)
    watched.root.with_name("elsewhere").rename(watched.root)
    assert watched.tick(MUCH_LATER).directories_listed == 0


@pytest.mark.hard_case(41)
def test_an_empty_root_that_had_files_pauses(watched: Watched) -> None:
    path = watched.write("1.dcm")
    watched.settle()
    path.unlink()
    assert watched.tick().paused == "root_empty"
    watched.write("2.dcm")
    assert watched.names() == {"2.dcm"}


@pytest.mark.hard_case(41)
def test_an_empty_root_that_never_had_files_waits_for_the_first(watched: Watched) -> None:
    watched.root.mkdir()
    result = watched.tick()
    assert (result.paused, result.complete) == (None, True)
    watched.write("1.dcm")
    assert watched.names() == {"1.dcm"}


@pytest.mark.hard_case(41)
def test_a_root_in_another_file_system_than_before_pauses(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.write("1.dcm")
    monkeypatch.setattr(os.path, "ismount", lambda path: path == str(watched.root))
    watched.settle()
    monkeypatch.undo()
    assert watched.tick().paused == "not_mounted"


@pytest.mark.hard_case(41)
def test_a_root_that_is_unmounted_in_the_middle_of_a_tick_pauses_and_nothing_is_forgotten(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.write("a/1.dcm")
    watched.write("b/1.dcm")
    watched.settle()
    elsewhere = watched.root.with_name("elsewhere")
    real = watch_module._Poll.ask_settled

    def unmounted(work: watch_module._Poll, deadline: float) -> bool:
        watched.root.rename(elsewhere)
        return real(work, deadline)

    monkeypatch.setattr(watch_module._Poll, "ask_settled", unmounted)
    assert watched.tick().paused == "root_missing"
    monkeypatch.undo()
    elsewhere.rename(watched.root)
    assert watched.tick(MUCH_LATER).directories_listed == 0


@pytest.mark.hard_case(41)
def test_a_directory_below_that_is_not_mounted_any_more_is_an_alarm(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.write("share/1.dcm")
    watched.write("1.dcm")
    share = str(watched.root / "share")
    real = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: path == share or real(path))
    watched.settle()
    monkeypatch.undo()
    (watched.root / "share" / "1.dcm").unlink()
    assert [(each.path, each.reason) for each in watched.tick().alarms] == [(share, "not_mounted")]


def test_a_directory_that_was_removed_is_forgotten_and_found_when_it_is_back(watched: Watched) -> None:
    watched.write("a/1.dcm")
    watched.write("b/1.dcm")
    watched.settle()
    shutil.move(watched.root / "a", watched.root.parent / "a")
    result = watched.tick()
    assert (result.alarms, result.new_files, result.paused) == ([], [], None)
    shutil.move(watched.root.parent / "a", watched.root / "a")
    watched.write("a/2.dcm")
    assert "a/2.dcm" in watched.names()


@pytest.mark.hard_case(40)
def test_links_out_of_the_root_are_not_followed(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "1.dcm").write_bytes(b"secret")
    watched.write("a.dcm")
    (watched.root / "way-out").symlink_to(tmp_path / "secret")
    (watched.root / "circle").symlink_to(watched.root)
    assert watched.names() == {"a.dcm"}


@pytest.mark.hard_case(40)
def test_a_watched_directory_that_became_a_link_is_followed_no_more(watched: Watched, tmp_path: Path) -> None:
    """Moved to another disk with a link left in its place: else each tick makes a job, and each job refuses it."""
    watched.write("a/b/1.dcm")
    watched.write("c/1.dcm")
    watched.settle()
    shutil.move(watched.root / "a", tmp_path / "moved")
    (watched.root / "a").symlink_to(tmp_path / "moved")
    (tmp_path / "moved" / "b" / "2.dcm").write_bytes(b"new there")
    (tmp_path / "moved" / "3.dcm").write_bytes(b"new there")
    watched.write("c/2.dcm")
    result = watched.tick()
    assert {os.path.relpath(file.path, watched.root) for file in result.new_files} == {"c/2.dcm"}
    assert (result.alarms, result.paused) == ([], None)
    watched.settle()


@pytest.mark.hard_case(39)
def test_names_of_any_bytes_are_watched(watched: Watched) -> None:
    name = os.fsdecode(b"lat\xe9n\nline")
    watched.write(f"{name}/{name}.dcm")
    assert watched.names() == {f"{name}/{name}.dcm"}
    watched.settle()


@pytest.mark.hard_case(45)
def test_a_directory_with_more_entries_than_are_held_is_watched_too(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fm_pipeline.dicom.scan.list.MOST_ENTRIES_HELD", 10)
    for number in range(30):
        watched.write(f"{number}.dcm")
    assert len(watched.names()) == 30
    watched.settle()
