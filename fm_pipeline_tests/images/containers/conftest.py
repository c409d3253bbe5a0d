"""Fixtures of the import from containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fm_pipeline_tests.images.containers.clinic import ImageClinic, image_clinic
from fm_pipeline_tests.support.buckets import BucketBench


@pytest.fixture
def clinic(database_url: str, tmp_path: Path, s3: BucketBench) -> Iterator[ImageClinic]:
    """A clinic without image records."""
    with image_clinic(database_url, tmp_path, s3) as made:
        yield made
