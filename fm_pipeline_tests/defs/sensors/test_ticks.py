"""A tick that meets an error fails. Dagster keeps the text of a tick and of its causes, so no record may be in it."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from fm_pipeline.defs.schedules import nightly_dicom_import
from fm_pipeline.defs.sensors.hospital_dicom import hospital_dicom_sensor
from fm_pipeline.defs.sensors.mail import reimport_mails
from fm_pipeline.errors import SettingsError, UnforeseenError
from fm_pipeline.settings import Settings


def broken() -> Settings:
    """Settings whose reading quotes a record."""
    raise ValueError("CANARY of a record")


def incomplete() -> Settings:
    """Settings that are refused because of a text of a record."""
    try:
        broken()
    except ValueError as fault:
        raise SettingsError("NEXUS_DATABASE_URL: is missing.") from fault
    raise AssertionError


Tick = Callable[[dg.DagsterInstance, Callable[[], Settings]], object]
TICKS: dict[str, Tick] = {
    "the sensor of the watched directory": lambda of, read: hospital_dicom_sensor(read)(dg.build_sensor_context(of)),
    "the sensor of emails": lambda of, read: reimport_mails(read)(dg.build_sensor_context(of)),
    "the nightly import": lambda of, read: nightly_dicom_import(read)(dg.build_schedule_context(of)),
}


@pytest.mark.parametrize("name", TICKS)
def test_a_tick_that_meets_an_unforeseen_error_fails_without_its_text(name: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(UnforeseenError) as failed:
        TICKS[name](instance, broken)
    assert "ValueError" in str(failed.value)
    assert "CANARY" not in str(failed.value)
    assert failed.value.__suppress_context__


@pytest.mark.parametrize("name", TICKS)
def test_a_tick_that_meets_an_error_of_ours_fails_with_its_sentences_alone(name: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(SettingsError, match="is missing") as failed:
        TICKS[name](instance, incomplete)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__
