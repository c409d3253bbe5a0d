"""The ZIP archives in which several files travel to Orthanc."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZipFile

from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.dicom.orthanc.zip_body import zip_body


@given(st.lists(st.one_of(st.integers(0, 300), st.integers(65_000, 66_000))))
def test_an_archive_has_the_files_in_their_order(sizes: list[int]) -> None:
    files = [memoryview(bytes([number % 256]) * size) for number, size in enumerate(sizes)]
    with ZipFile(BytesIO(b"".join(zip_body(files)))) as archive:
        assert archive.testzip() is None
        assert [archive.read(member) for member in archive.infolist()] == files


def test_large_files_are_not_copied() -> None:
    contents = [bytes(1 << 20), bytes(2 << 20)]
    blocks = zip_body([memoryview(content) for content in contents])
    assert [block.obj for block in blocks if len(block) >= 1 << 20] == contents
    assert all(any(block.obj is content for block in blocks) for content in contents)


def test_small_files_go_in_few_blocks() -> None:
    assert len(zip_body([memoryview(bytes(8 << 10))] * 64)) <= 9
