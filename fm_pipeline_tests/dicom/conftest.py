"""Fixtures of the DICOM import."""

from __future__ import annotations

from pathlib import Path

import pytest

from fm_pipeline.nexus.migrate import migrate
from fm_pipeline_tests.bench.orthanc import emptied
from fm_pipeline_tests.bench.services import LazyStack
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings


@pytest.fixture
def importing(database_url: str, stack: LazyStack, tmp_path: Path) -> ImportBench:
    """An empty Orthanc, an empty ledger, an empty folder."""
    orthanc = emptied(stack.orthanc).settings()
    migrate(database_url)
    folder = tmp_path / "hospital"
    folder.mkdir()
    return ImportBench(import_settings(database_url, orthanc, tmp_path / "state"), folder)
