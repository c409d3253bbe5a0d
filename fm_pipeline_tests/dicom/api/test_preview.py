"""What a preview says of files whose facts are unusual."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest

from fm_pipeline.dicom.api.preview import PreviewTotals, preview
from fm_pipeline.dicom.files.archives.limits import ArchiveLimits
from fm_pipeline.sandbox.dicom.series import write_series

MEMORY_DISK = "/dev/shm"  # noqa: S108  # of Linux
YEAR_30_000 = 884_541_340_800


@pytest.fixture
def memory_disk() -> Iterator[Path]:
    """A folder on a file system that keeps any time."""
    if not os.path.isdir(MEMORY_DISK):
        pytest.skip("There is no file system in memory here.")
    with TemporaryDirectory(dir=MEMORY_DISK) as folder:
        yield Path(folder)


def test_a_file_whose_time_no_calendar_has_is_shown_without_it(memory_disk: Path) -> None:
    write_series(memory_disk, 2, 2_000)
    os.utime(memory_disk / "IM000000", (YEAR_30_000, YEAR_30_000))
    limits = ArchiveLimits(members=1, unpacked_bytes=1, ratio=1, folder=memory_disk / "unpacked")
    seen = list(preview(str(memory_disk), PreviewTotals(), limits))
    shown = {answer["name"]: answer["modified"] for answer in (each.answer(ZoneInfo("UTC")) for each in seen)}
    assert shown["IM000000"] is None
    assert shown["IM000001"] is not None
