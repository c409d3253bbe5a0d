"""Fixtures for images: a bucket of its own for each test, and a clinic with a bulk dump."""

from __future__ import annotations

from pathlib import Path

import pytest

from fm_pipeline_tests.bench.buckets import BucketBench
from fm_pipeline_tests.bench.clinics import MigrationBench
from fm_pipeline_tests.bench.services import LazyStack
from fm_pipeline_tests.images.scene import Scene


@pytest.fixture
def s3(stack: LazyStack) -> BucketBench:
    """An empty bucket."""
    return BucketBench(stack.s3)


@pytest.fixture
def scene(bench: MigrationBench, s3: BucketBench, tmp_path: Path) -> Scene:
    """A clinic without images, and an empty bulk dump."""
    return Scene(bench, s3, tmp_path)
