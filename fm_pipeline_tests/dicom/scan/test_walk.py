"""Scanning a tree: every file is found once, whatever its name, and unreadable entries are reported."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import pytest

from fm_pipeline.dicom.errors import RootUnavailable
from fm_pipeline.dicom.files.open import FileChangedError, open_found, unchanged, unreadable_reason
from fm_pipeline.dicom.model import FoundFile, SetAside, Unreadable
from fm_pipeline.dicom.scan import list as listing
from fm_pipeline.dicom.scan.walk import Met, scan
from fm_pipeline_tests.dicom.watch.watching import let_the_clock_go_on


def met(root: Path) -> dict[str, Met]:
    return {os.path.relpath(each.path, root): each for each in scan(str(root))}


def only_file(root: Path) -> FoundFile:
    (found,) = scan(str(root))
    assert isinstance(found, FoundFile)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "hospital"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "1.dcm").write_bytes(b"one")
    return root


def test_a_found_file_has_size_and_times(root: Path) -> None:
    path = root / "a" / "b" / "1.dcm"
    facts = path.stat()
    assert only_file(root) == FoundFile(str(path), 3, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_dev, facts.st_ino)


@pytest.mark.hard_case(38)
def test_pipes_and_sockets_are_set_aside_and_nothing_waits_for_them(root: Path) -> None:
    os.mkfifo(root / "pipe.dcm")
    assert met(root)["pipe.dcm"] == SetAside(str(root / "pipe.dcm"), "fifo")


@pytest.mark.hard_case(38)
def test_a_file_that_became_a_pipe_after_the_scan_does_not_hang(root: Path) -> None:
    found = only_file(root)
    os.unlink(found.path)
    os.mkfifo(found.path)
    with pytest.raises(FileChangedError):
        open_found(found)


@pytest.mark.hard_case(38)
def test_a_file_that_became_a_link_after_the_scan_is_not_followed(root: Path, tmp_path: Path) -> None:
    found = only_file(root)
    os.unlink(found.path)
    os.symlink("/etc/hostname", found.path)
    with pytest.raises(OSError, match="symbolic links") as refused:
        open_found(found)
    assert unreadable_reason(refused.value) == "vanished"


@pytest.mark.hard_case(38)
def test_a_file_that_vanished_after_the_scan_says_so(root: Path) -> None:
    found = only_file(root)
    os.unlink(found.path)
    with pytest.raises(FileNotFoundError) as gone:
        open_found(found)
    assert unreadable_reason(gone.value) == "vanished"


@pytest.mark.parametrize("change", ["longer", "same length", "replaced with the old time"])
@pytest.mark.hard_case(38)
def test_a_file_that_changed_is_noticed_before_and_while_it_is_read(root: Path, change: str) -> None:
    found = only_file(root)
    let_the_clock_go_on(root)
    with open_found(found) as file:
        assert unchanged(file, found)
        if change == "longer":
            Path(found.path).write_bytes(b"longer")
        elif change == "same length":
            Path(found.path).write_bytes(b"two")
        else:
            Path(found.path).write_bytes(b"two")
            os.utime(found.path, ns=(found.modified_ns, found.modified_ns))
        assert not unchanged(file, found)
    with pytest.raises(FileChangedError):
        open_found(found)


@pytest.mark.hard_case(39)
def test_a_path_longer_than_the_system_takes_is_found_and_read(root: Path) -> None:
    directory = os.open(root, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=directory)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = inner
    with open(os.open("far.dcm", os.O_CREAT | os.O_WRONLY, dir_fd=directory), "wb") as file:
        file.write(b"far away")
    os.close(directory)
    (far,) = [each for each in scan(str(root)) if each.path.endswith("far.dcm")]
    assert len(far.path) > 4_096
    assert isinstance(far, FoundFile)
    with open_found(far) as opened:
        assert opened.read() == b"far away"


@pytest.mark.hard_case(40)
def test_links_are_named_by_where_they_lead_and_never_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.dcm").write_bytes(b"secret")
    (root / "circle").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "inside").symlink_to(root / "a")
    (root / "outside").symlink_to(tmp_path / "outside")
    (root / "relative").symlink_to("../outside/secret.dcm")
    (root / "broken").symlink_to("nothing")
    found = met(root)
    reasons = {name: each.reason for name, each in found.items() if isinstance(each, SetAside)}
    assert reasons == {
        "circle": "link_inside_root",
        "self": "link_loop",
        "inside": "link_inside_root",
        "outside": "link_outside_root",
        "relative": "link_outside_root",
        "broken": "link_broken",
    }
    assert [name for name, each in found.items() if isinstance(each, FoundFile)] == ["a/b/1.dcm"]


@pytest.mark.hard_case(40)
def test_a_name_that_begins_as_the_root_does_is_not_inside_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "hospital-other").mkdir()
    (root / "link").symlink_to(tmp_path / "hospital-other")
    assert met(root)["link"] == SetAside(str(root / "link"), "link_outside_root")


@pytest.mark.hard_case(40)
def test_a_directory_that_cannot_be_read_is_named_and_the_rest_is_found(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "locked").mkdir()
    real = os.scandir

    def scandir(path: str | int) -> object:
        if path == str(root / "locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = met(root)
    assert found["locked"] == Unreadable(str(root / "locked"), is_directory=True, reason="permission")
    assert isinstance(found["a/b/1.dcm"], FoundFile)


@pytest.mark.hard_case(41)
def test_a_missing_root_is_an_error_and_an_empty_one_is_not_nothing(tmp_path: Path) -> None:
    with pytest.raises(RootUnavailable):
        list(scan(str(tmp_path / "missing")))
    (tmp_path / "empty").mkdir()
    assert list(scan(str(tmp_path / "empty"))) == [Unreadable(str(tmp_path / "empty"), True, "root_empty")]


@pytest.mark.hard_case(41)
def test_a_root_that_is_unmounted_in_mid_scan_is_named(root: Path) -> None:
    for number in range(5):
        (root / str(number)).mkdir()
        (root / str(number) / "1.dcm").write_bytes(b"one")
    scanning = scan(str(root))
    next(scanning)
    root.rename(root.with_name("elsewhere"))
    assert list(scanning)[-1] == Unreadable(str(root), is_directory=True, reason="not_mounted")


@pytest.mark.hard_case(45)
def test_the_first_file_is_given_before_the_directory_is_read_to_its_end(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        (root / "a" / "b" / f"{number}.dcm").touch()
    asked = 0
    real = os.scandir

    class Counted:
        def __init__(self, path: str) -> None:
            self.entries = real(path)

        def __enter__(self) -> Counted:
            return self

        def __exit__(self, *_: object) -> None:
            self.entries.close()

        def __iter__(self) -> Counted:
            return self

        def __next__(self) -> os.DirEntry[str]:
            nonlocal asked
            asked += 1
            return next(self.entries)

        def close(self) -> None:
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Counted)
    monkeypatch.setattr(listing, "MOST_ENTRIES_HELD", 10)
    assert len(list(islice(scan(str(root)), 10))) == 10
    assert asked < 20
