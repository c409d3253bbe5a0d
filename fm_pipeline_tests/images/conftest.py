"""A clinic with a bulk dump."""

from __future__ import annotations

from pathlib import Path

import pytest

from fm_pipeline_tests.images.scene import Scene
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import MigrationBench, Origin


@pytest.fixture
def scene(migrated_once: Origin, bench: MigrationBench, s3: BucketBench, tmp_path: Path) -> Scene:
    """A clinic without images, and an empty bulk dump."""
    return Scene(bench, s3, tmp_path)
