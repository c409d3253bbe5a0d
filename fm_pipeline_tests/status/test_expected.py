"""What is due and did not come, and the sensor that tells it once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fm_pipeline.defs.sensors.overdue import tell_changes
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.status.expected import Expectation, read_expectations
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench
from fm_pipeline_tests.support.mail import mail_settings

ALL = {"expect_plan_hours": 30, "expect_dicom_hours": 48, "expect_dicom_file_hours": 72}


@pytest.mark.usefixtures("reimported_once")
def test_each_expectation_is_read_from_what_came_last(bench: MigrationBench) -> None:
    came = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)
    job = "INSERT INTO fm_pipeline.import_jobs (job_type, status, source_path, requested_by, completed_at)"
    bench.execute(f"{job} VALUES ('incremental', 'completed', '/x', 'bench', %s)", came)
    bench.execute(f"{job} VALUES ('incremental', 'failed', '/x', 'bench', %s)", came + timedelta(days=1))
    bench.execute(
        "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status, imported_at)"
        " SELECT min(id), '/x/1', '1', gen_random_uuid(), 'imported', %s FROM fm_pipeline.import_jobs"
        " UNION ALL SELECT min(id), '/x/2', '2', gen_random_uuid(), 'already_there', %s FROM fm_pipeline.import_jobs",
        came - timedelta(hours=1),
        came + timedelta(days=2),
    )
    found = {each.name: each for each in read_expectations(bench.with_settings(**ALL).settings)}
    assert {name: each.last_at for name, each in found.items()} == {
        "plan": RUN_TIME,
        "dicom": came,
        "dicom_file": came - timedelta(hours=1),
    }
    assert not found["dicom"].is_overdue(came + timedelta(hours=48))
    assert found["dicom"].is_overdue(came + timedelta(hours=48, seconds=1))
    assert "since 2026-05-01 13:00; one is expected every 48 hours" in found["dicom"].sentence("Australia/Sydney")


def test_what_never_came_is_overdue_and_nothing_is_asked_if_nothing_is_expected(bench: MigrationBench) -> None:
    (plan,) = read_expectations(bench.with_settings(expect_plan_hours=30).settings)
    assert plan.is_overdue(datetime.now(UTC))
    assert "no plan or reimport yet" in plan.sentence("Australia/Sydney")
    assert read_expectations(mail_settings(Path(), 1)) == [], "its database does not exist"


def test_a_miss_is_mailed_once_and_once_more_when_it_is_back(tmp_path: Path) -> None:
    settings = mail_settings(tmp_path / "state", 1)
    start = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)

    def tick(told: dict[str, str], last_at: datetime | None, hours: int) -> dict[str, str]:
        expected = [Expectation("plan", "plan or reimport", 30, last_at)]
        return tell_changes(settings, told, expected, now=start + timedelta(hours=hours))

    def waiting() -> int:
        return Outbox(settings.state_dir).count_unsent()

    told = tick({}, start, 29)
    assert (told, waiting()) == ({}, 0)
    for hours in (31, 32):
        told = tick(told, start, hours)
        assert (told, waiting()) == ({"plan": "20260501T030000"}, 1)
    tick({}, start, 33)
    assert waiting() == 1, "a tick whose cursor was lost"
    again = start + timedelta(hours=40)
    for hours in (41, 42):
        told = tick(told, again, hours)
        assert (told, waiting()) == ({}, 2)
    assert tick(told, again, 80) == {"plan": "20260502T190000"}
    assert waiting() == 3
    assert tell_changes(settings, {"plan": "x"}, [], now=start) == {}, "no longer expected"
    assert tick({}, None, 0) == {"plan": "never"}
