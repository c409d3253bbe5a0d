"""Fixtures of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from fm_pipeline_tests.defs.sensors.test_hospital_dicom import Bench
from fm_pipeline_tests.support.dicom import dicom_settings


@pytest.fixture
def hospital(migrated_url: str, tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "hospital").mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        running = Bench(dicom_settings(migrated_url, tmp_path), instance)
        running.drop("ward/readme.txt")
        running.configure(monitoring_enabled=True, quiet_period=0)
        yield running
