"""Fixtures for images: a bucket of its own for each test."""

from __future__ import annotations

import pytest

from fm_pipeline_tests.bench.buckets import BucketBench
from fm_pipeline_tests.bench.services import LazyStack


@pytest.fixture
def s3(stack: LazyStack) -> BucketBench:
    """An empty bucket."""
    return BucketBench(stack.s3)
