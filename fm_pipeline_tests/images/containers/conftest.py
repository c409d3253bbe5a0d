"""Fixtures of the import from containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fm_pipeline.db.migrate import migrate
from fm_pipeline_tests.images.containers.clinic import ImageClinic, fill_image_clinic, filled_image_clinic
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database


@pytest.fixture(scope="session")
def image_database(postgresql: DisposablePostgreSQL) -> Iterator[str]:
    """The name of a database with patients, without image records, and with the pipeline's empty tables."""
    with empty_database(postgresql) as url:
        fill_image_clinic(url)
        migrate(url)
        yield url.rsplit("/", 1)[1]


@pytest.fixture
def clinic(
    postgresql: DisposablePostgreSQL, image_database: str, tmp_path: Path, s3: BucketBench
) -> Iterator[ImageClinic]:
    """A clinic without image records."""
    with empty_database(postgresql, image_database) as url, filled_image_clinic(url, tmp_path, s3) as made:
        yield made
