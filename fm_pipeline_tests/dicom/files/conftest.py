"""Fixtures of this folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fm_pipeline.dicom.api.preview import PreviewTotals, preview
from fm_pipeline.dicom.files.archives.limits import ArchiveLimits
from fm_pipeline.dicom.paths import printable
from fm_pipeline.dicom.scan.excluded_folders import KNOWN
from fm_pipeline_tests.dicom.files.test_archives import Look

FOUR_GIB = 1 << 32  # bytes that are not on the disk: a hole


@pytest.fixture
def limits(tmp_path: Path) -> ArchiveLimits:
    return ArchiveLimits(members=1_000, unpacked_bytes=1 << 30, ratio=100, folder=tmp_path / "state" / "unpacked")


@pytest.fixture
def looked(tmp_path: Path, limits: ArchiveLimits) -> Look:
    """What is found in an archive: the ends by the names behind the archive's own.

    `hole` is where a hole of 4 GiB lies in the file.
    """

    def look_into(
        content: bytes, name: str = "archive", *, hole: int = 0, **changes: Any
    ) -> dict[str, tuple[str, str]]:
        folder = tmp_path / "hospital"
        folder.mkdir(exist_ok=True)
        with (folder / name).open("wb") as file:
            file.write(content[:hole])
            file.seek(FOUR_GIB if hole else 0, os.SEEK_CUR)
            file.write(content[hole:])
        seen = list(preview(str(folder), PreviewTotals(), replace(limits, **changes), KNOWN))
        found = {
            printable(each.path).removeprefix(f"{folder}/{name}"): (str(each.outcome or ""), each.reason or "")
            for each in seen
        }
        assert len(found) == len(seen)
        return found

    return look_into
