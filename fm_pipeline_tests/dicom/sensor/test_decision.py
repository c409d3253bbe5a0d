"""The decisions of the sensor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fm_pipeline.dicom.configuration.configuration import SyncConfiguration
from fm_pipeline.dicom.history.jobs import Job
from fm_pipeline.dicom.sensor.decision import (
    FIRST_PAUSE,
    FIRST_RESTART,
    MOST_ATTEMPTS,
    OwnJob,
    Poll,
    SensorCursor,
    Start,
    Wait,
    next_step,
    next_sync,
)
from fm_pipeline.dicom.sensor.tick import _stopped

NOW = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
ON = SyncConfiguration(hospital_data_path="/hospital", monitoring_enabled=True, monitoring_interval=30)


NEVER = SensorCursor()


def job(number: int, status: str, **more: Any) -> Job:
    fields: dict[str, Any] = dict.fromkeys(Job.__dataclass_fields__, None)
    return Job(**(fields | {"id": number, "status": status, "created_at": NOW} | more))


def step(configuration: SyncConfiguration = ON, watermark: SensorCursor = NEVER, **facts: Any) -> Wait | Start | Poll:
    given: dict[str, Any] = {"now": NOW, "runs_unfinished": 0, "jobs_at_work": [], "own_jobs": []}
    return next_step(configuration, watermark, **(given | facts))


def start(job_id: int, attempt: int) -> Start:
    return Start(job_id, attempt, NOW)


def test_it_looks_when_the_interval_has_passed_and_not_before() -> None:
    assert step() == Poll("/hospital")
    assert step(watermark=SensorCursor(NOW - timedelta(seconds=30))) == Poll("/hospital")
    assert step(watermark=SensorCursor(NOW - timedelta(seconds=29))) == Wait("The next look is in 1 seconds.")


def test_a_clock_that_was_set_back_does_not_stop_it() -> None:
    assert step(watermark=SensorCursor(NOW + timedelta(days=1))) == Poll("/hospital")


def test_it_does_nothing_while_monitoring_is_off() -> None:
    assert isinstance(step(ON.model_copy(update={"monitoring_enabled": False})), Wait)
    assert isinstance(step(SyncConfiguration()), Wait)


@pytest.mark.parametrize("facts", [{"runs_unfinished": 1}, {"jobs_at_work": [7]}], ids=["a run", "a command"])
@pytest.mark.hard_case(44)
def test_while_an_import_runs_no_second_one_is_started(facts: dict[str, Any]) -> None:
    assert isinstance(step(**facts, own_jobs=[OwnJob(job(8, "pending"), 0)]), Wait)


@pytest.mark.hard_case(44)
def test_a_job_that_was_made_and_not_carried_out_comes_before_new_files() -> None:
    own = [OwnJob(job(8, "pending"), 0), OwnJob(job(9, "pending"), 0)]
    assert step(own_jobs=own, watermark=SensorCursor(NOW)) == start(8, 1)
    lost = [OwnJob(job(8, "running", updated_at=NOW - 2 * FIRST_RESTART), 2)]  # with its machine
    assert step(own_jobs=lost) == start(8, 3)
    assert isinstance(step(own_jobs=lost, now=NOW - timedelta(seconds=1)), Wait)
    assert len({start(8, 3).run_key, start(8, 2).run_key, Start(8, 2, NOW + timedelta(hours=1)).run_key}) == 3


@pytest.mark.hard_case(44)
def test_a_failed_job_is_tried_again_after_a_pause_and_blocks_what_would_fail_too() -> None:
    for attempts in range(1, MOST_ATTEMPTS):
        pause = FIRST_PAUSE * 2 ** (attempts - 1)
        failed = job(8, "failed", completed_at=NOW - pause, error_reason="orthanc_down")
        assert step(own_jobs=[OwnJob(failed, attempts)]) == start(8, attempts + 1)
        early = step(own_jobs=[OwnJob(failed, attempts)], now=NOW - timedelta(seconds=1))
        assert isinstance(early, Wait)
        assert "orthanc_down" in early.reason
    assert step(own_jobs=[OwnJob(failed, MOST_ATTEMPTS)]) == Poll("/hospital")


def test_a_cursor_is_a_watermark_and_a_broken_one_is_none() -> None:
    watermark = SensorCursor(NOW)
    assert SensorCursor.read(watermark.write()) == watermark
    assert len(watermark.write()) < 100
    assert SensorCursor.read('{"looked_at": null, "alarm": true}') == SensorCursor()  # as an earlier version wrote it
    for broken in (None, "", "[]", "{", '{"looked_at": 7}', '{"looked_at": "yesterday"}'):
        assert SensorCursor.read(broken) == SensorCursor()


def test_the_scheduled_import_keeps_its_interval_and_never_overlaps() -> None:
    facts: dict[str, Any] = {"now": NOW, "runs_unfinished": 0, "jobs_at_work": []}
    on = ON.model_copy(update={"sync_enabled": True, "sync_interval": 3600})
    assert next_sync(on, **facts) is None
    assert next_sync(ON, **facts)
    assert next_sync(on, **(facts | {"runs_unfinished": 1}))
    assert next_sync(on, **(facts | {"jobs_at_work": [1]}))
    assert next_sync(on.model_copy(update={"last_sync_at": NOW - timedelta(seconds=3599)}), **facts)
    assert next_sync(on.model_copy(update={"last_sync_at": NOW - timedelta(seconds=3600)}), **facts) is None
    assert next_sync(on.model_copy(update={"last_sync_at": NOW + timedelta(days=1)}), **facts) is None


def test_only_a_job_that_compared_with_orthanc_may_have_marked_files_as_missing() -> None:
    for reason, marked in (("missing_in_orthanc", True), ("orthanc_unreachable", False)):
        failed = job(7, "failed", error_reason=reason, error_message="Stopped.", files_processed=3)
        (stopped,) = _stopped([OwnJob(failed, 1)])
        assert (stopped.marked, stopped.files, stopped.others_go_on) == (marked, 3, False)


def test_files_that_a_setting_keeps_out_do_not_keep_new_ones_waiting() -> None:
    failed = job(7, "failed", error_reason="too_large_for_proxy", completed_at=NOW)
    assert step(own_jobs=[OwnJob(failed, 1)]) == Poll("/hospital")
    assert step(own_jobs=[OwnJob(failed, 1), OwnJob(job(8, "pending"), 0)]) == start(8, 1)
    assert step(now=NOW + FIRST_PAUSE, own_jobs=[OwnJob(failed, 1)]) == start(7, 2)
