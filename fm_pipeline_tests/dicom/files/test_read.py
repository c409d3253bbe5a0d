"""The bytes that are hashed are the bytes that are sent, whatever happens to the file meanwhile."""

from __future__ import annotations

import hashlib
import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from fm_pipeline.dicom.files import read as reading
from fm_pipeline.dicom.files.buffer import BundleBuffer
from fm_pipeline.dicom.files.open import FileChangedError
from fm_pipeline.dicom.files.read import (
    Candidate,
    FileBecameUnreadableError,
    Stream,
    UnusableFile,
    found_file,
    read_candidate,
)
from fm_pipeline.dicom.model import FoundFile, Outcome
from fm_pipeline.dicom.scan.walk import scan
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline_tests.dicom.bench import ImportBench
from fm_pipeline_tests.dicom.watch.watching import let_the_clock_go_on

LARGE_BYTES = 96 << 20


def found(path: Path) -> FoundFile:
    met = found_file(str(path))
    assert met is not None
    return met


@pytest.mark.hard_case(38)
def test_the_hash_is_that_of_the_bytes_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(as_file(image("a")))
    candidate = read_candidate(found(path))
    assert isinstance(candidate, Candidate)
    path.write_bytes(b"something else")
    assert candidate.data is not None
    assert candidate.md5 == hashlib.md5(candidate.data, usedforsecurity=False).hexdigest()


@pytest.mark.hard_case(40)
def test_a_directory_that_became_a_link_after_the_scan_does_not_lead_out(tmp_path: Path) -> None:
    for directory in ("root/a/b", "outside/b"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "1.dcm").write_bytes(as_file(image(directory)))
    (found,) = scan(str(tmp_path / "root"))
    assert isinstance(found, FoundFile)
    (tmp_path / "root" / "a").rename(tmp_path / "moved")
    (tmp_path / "root" / "a").symlink_to(tmp_path / "outside")
    read = read_candidate(found)
    assert isinstance(read, UnusableFile)
    assert (read.outcome, read.reason) == (Outcome.FAILED, "changed")


@pytest.mark.hard_case(38)
def test_a_file_that_vanished_or_became_a_link_is_to_be_tried_again(tmp_path: Path) -> None:
    path, link = tmp_path / "a.dcm", tmp_path / "b.dcm"
    for each in (path, link):
        each.write_bytes(as_file(image("a")))
    gone, swapped = found(path), found(link)
    path.unlink()
    link.unlink()
    link.symlink_to("/etc/hostname")
    for met in (gone, swapped):
        result = read_candidate(met)
        assert isinstance(result, UnusableFile)
        assert (result.outcome, result.reason) == (Outcome.FAILED, "vanished")


@pytest.mark.hard_case(38)
def test_a_file_whose_rights_or_times_changed_since_the_scan_is_read_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(as_file(image("a")))
    before = found(path)
    os.utime(path, (0, 0))
    candidate = read_candidate(before)
    assert isinstance(candidate, Candidate)
    assert candidate.found.modified_ns == 0


@pytest.mark.hard_case(38)
def test_a_file_that_is_still_growing_is_not_called_bad(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    whole = as_file(image("a"))
    path.write_bytes(whole[: len(whole) // 3])
    before = found(path)
    path.write_bytes(whole[: len(whole) // 2])
    result = read_candidate(before)
    assert isinstance(result, UnusableFile)
    assert (result.outcome, result.reason) == (Outcome.FAILED, "changed")


@pytest.mark.hard_case(38)
def test_a_large_file_that_is_rewritten_while_it_is_sent_never_arrives_whole(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"a" * (3 << 20))
    let_the_clock_go_on(path)
    blocks = iter(Stream(found(path)))
    sent = [next(blocks)]
    with path.open("r+b") as file:
        file.write(b"b")
    with pytest.raises(FileChangedError):
        sent.extend(blocks)
    assert sum(map(len, sent)) < 3 << 20


def test_a_stream_hashes_what_it_gives(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom((2 << 20) + 17))
    stream = Stream(found(path))
    assert b"".join(stream) == path.read_bytes()
    assert stream.md5 == hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def multi_frame(path: Path, size: int) -> None:
    """A file of zeros that takes no room on the disk behind a real header."""
    header = as_file(image("large", size=1 << 10))
    pixels = header.rindex(b"\xe0\x7f\x10\x00")
    path.write_bytes(header[: pixels + 8] + size.to_bytes(4, "little"))
    os.truncate(path, pixels + 12 + size)


@pytest.mark.hard_case(46)
def test_large_files_are_streamed_recognised_and_take_little_memory(importing: ImportBench) -> None:
    path = importing.folder / "large.dcm"
    multi_frame(path, LARGE_BYTES)
    tracemalloc.start()
    try:
        job = importing.imported(verify_md5=True)
        again = importing.imported()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert importing.outcomes(job.id) == {"imported": 1}
    assert (job.instances_missing, job.instances_differing) == (0, 0)
    row = importing.rows(again.id)[str(path)]
    assert (row.status, row.sends) == ("already_there", 0)
    with path.open("rb") as file:
        assert row.file_hash == hashlib.file_digest(file, "md5").hexdigest()
    assert peak < 4 * reading.WHOLE_UP_TO_BYTES


def test_a_large_file_that_cannot_be_read_any_more_is_no_lost_connection(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"a" * (3 << 20))
    met = found(path)
    path.unlink()
    with pytest.raises(FileBecameUnreadableError, match="vanished"):
        next(iter(Stream(met)))


@pytest.mark.hard_case(46)
def test_files_are_read_into_memory_that_is_used_again_and_what_does_not_fit_into_other(tmp_path: Path) -> None:
    contents = [as_file(image(str(number))) for number in range(3)]
    paths = [tmp_path / str(number) for number in range(3)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    memory = BundleBuffer(2 * max(map(len, contents)))
    for _ in range(2):
        read = [read_candidate(found(path), memory) for path in paths]
        assert [bytes(each.data or b"") for each in read if isinstance(each, Candidate)] == contents
        memory.clear()
    kept = [memory.take(10) for _ in range(2)]
    for number, piece in enumerate(kept):
        piece[:] = bytes([number]) * 10
    assert [bytes(piece) for piece in kept] == [b"\0" * 10, b"\1" * 10]


@pytest.mark.hard_case(40)
def test_a_share_that_gives_less_at_once_than_it_was_asked_for_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(as_file(image("slow")))

    class Slow(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            return super().readinto(memoryview(buffer)[:100]) or 0

    monkeypatch.setattr("fm_pipeline.dicom.files.read.open_found", lambda found: Slow(found.path))
    candidate = read_candidate(found(path))
    assert isinstance(candidate, Candidate)
    assert bytes(candidate.data or b"") == path.read_bytes()
