"""Fixtures of this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fm_pipeline.sandbox.stack.stack import Stack


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other system users can reach; pytest's own is closed to them."""
    with tempfile.TemporaryDirectory(prefix="fm-pipeline-test-") as name:
        path = Path(name) / "state"
        yield path
        Stack(path).down()
