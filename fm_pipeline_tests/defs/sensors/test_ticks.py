"""What a tick says of an error that nobody foresaw: Dagster keeps the text of a tick, so a record must not be in it."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from fm_pipeline.defs.schedules import nightly_dicom_import
from fm_pipeline.defs.sensors.hospital_dicom import hospital_dicom_sensor
from fm_pipeline.defs.sensors.mail import reimport_mails
from fm_pipeline.errors import UnforeseenError
from fm_pipeline.settings import Settings


def broken() -> Settings:
    """Settings whose reading quotes a record."""
    raise ValueError("CANARY of a record")


TICKS: dict[str, Callable[[dg.DagsterInstance], object]] = {
    "the sensor of the watched directory": lambda of: hospital_dicom_sensor(broken)(dg.build_sensor_context(of)),
    "the sensor of mails": lambda of: reimport_mails(broken)(dg.build_sensor_context(of)),
    "the nightly import": lambda of: nightly_dicom_import(broken)(dg.build_schedule_context(of)),
}


@pytest.mark.parametrize("name", TICKS)
def test_a_tick_that_meets_an_unforeseen_error_fails_without_its_text(name: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(UnforeseenError) as failed:
        TICKS[name](instance)
    assert "ValueError" in str(failed.value)
    assert "CANARY" not in str(failed.value)
    assert failed.value.__suppress_context__
