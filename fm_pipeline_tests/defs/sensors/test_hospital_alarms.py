"""Alarms of the watched directory: in the tick, in the audit trail and by email."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from fm_pipeline.defs.assets.dicom import JOB_TAG
from fm_pipeline.dicom.history.jobs import list_jobs
from fm_pipeline.dicom.log import log_file
from fm_pipeline.dicom.sensor.decision import FIRST_PAUSE, MOST_ATTEMPTS
from fm_pipeline.errors import DatabaseError
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline_tests.defs.sensors.test_hospital_dicom import Bench, job_of, requested
from fm_pipeline_tests.support.dicom import dicom_settings


@pytest.mark.parametrize("fault", ["missing", "empty", "not allowed"])
@pytest.mark.hard_case(41)
def test_a_directory_that_is_not_there_raises_one_alarm_and_nothing_else(
    hospital: Bench, tmp_path: Path, fault: str
) -> None:
    hospital.carried_out(job_of(requested(hospital.tick())))
    known = hospital.execute("SELECT count(*) FROM fm_pipeline.import_history")
    hospital.hospital.rename(tmp_path / "away")
    if fault != "missing":
        hospital.hospital.mkdir()
    if fault == "not allowed":
        hospital.settings = hospital.settings.model_copy(update={"dicom_allowed_roots": str(tmp_path / "away")})
    for _ in range(3):
        assert hospital.failed_tick().startswith("Alarm: ")
    assert str(tmp_path) not in hospital.failed_tick()
    assert hospital.execute("SELECT count(*) FROM fm_pipeline.import_history") == known
    assert len(list_jobs(hospital.database_url).jobs) == 1
    alarms = hospital.execute("SELECT detail FROM fm_pipeline.audit WHERE action = 'dicom_watch'")
    assert len(alarms) == 1, "when it begins, not at each tick"
    log = log_file(hospital.settings).read_text()
    assert log.count("error: The watched directory cannot be read.") == 1
    assert str(tmp_path) not in log + str(alarms)
    hospital.settings = hospital.settings.model_copy(update={"dicom_allowed_roots": None})
    if hospital.hospital.exists():
        hospital.hospital.rmdir()
    (tmp_path / "away").rename(hospital.hospital)
    hospital.drop("a/back.dcm")
    back = job_of(requested(hospital.tick()))
    assert hospital.files_of(back) == {"a/back.dcm"}
    hospital.carried_out(back)
    assert "Nothing new" in str(hospital.tick())
    readable = "The watched directory can be read again."
    assert log_file(hospital.settings).read_text().count(readable) == 1
    ended = hospital.execute(
        "SELECT outcome, detail FROM fm_pipeline.audit WHERE action = 'dicom_watch' ORDER BY id DESC"
    )
    assert ended[0] == ("done", readable)
    assert len(ended) == 2


def with_mail(hospital: Bench) -> Outbox:
    hospital.settings = hospital.settings.model_copy(
        update={"smtp_host": "mail.example", "dagster_ui_url": "http://dagster.example/"}
    )
    return Outbox(hospital.settings.state_dir)


@pytest.mark.hard_case(41)
def test_an_alarm_of_the_directory_is_one_mail_each_time_that_it_begins(hospital: Bench, tmp_path: Path) -> None:
    outbox = with_mail(hospital)
    hospital.carried_out(job_of(requested(hospital.tick())))
    for _ in range(2):
        hospital.hospital.rename(tmp_path / "away")
        for _ in range(3):
            assert hospital.failed_tick().startswith("Alarm: ")
        claim = outbox.claim(datetime.now(UTC))
        assert claim
        assert claim.email.subject == "DICOM import: the watched directory cannot be read"
        assert "http://dagster.example/locations/fm_pipeline/sensors/hospital_dicom_sensor" in claim.email.body
        assert str(tmp_path) not in claim.email.body
        assert outbox.claim(datetime.now(UTC)) is None
        (tmp_path / "away").rename(hospital.hospital)
        assert "Nothing new" in str(hospital.tick())


@pytest.mark.hard_case(42)
def test_a_job_of_the_sensor_that_stops_is_one_mail_however_often_it_is_tried_again(hospital: Bench) -> None:
    outbox = with_mail(hospital)
    request = requested(hospital.tick())
    hospital.end(hospital.queue(request), dg.DagsterRunStatus.FAILURE)
    fail = (
        "UPDATE fm_pipeline.import_jobs SET status = 'failed', error_reason = 'orthanc_storage_full',"
        " error_message = 'Orthanc is full.', completed_at = %s WHERE id = %s"
    )
    hospital.execute(fail, datetime.now(UTC), job_of(request))
    for _ in range(3):
        assert "is tried again at" in str(hospital.tick())
    claim = outbox.claim(datetime.now(UTC))
    assert claim
    assert claim.email.subject == f"DICOM import {job_of(request)} has stopped (orthanc_storage_full)"
    assert "Orthanc is full." in claim.email.body
    assert "tried again by itself, up to 5 times" in claim.email.body, "the first run and five more"
    assert outbox.claim(datetime.now(UTC)) is None
    # As after a restore of the database, when another job gets the id of one that is forgotten
    hospital.execute("UPDATE fm_pipeline.import_jobs SET created_at = created_at + interval '1 hour'")
    hospital.tick()
    assert outbox.claim(datetime.now(UTC))


@pytest.mark.hard_case(42)
def test_another_reason_is_another_mail_also_when_the_job_is_started_again_or_given_up(hospital: Bench) -> None:
    outbox = with_mail(hospital)
    request = requested(hospital.tick())
    run_id = hospital.queue(request, dg.DagsterRunStatus.FAILURE)
    fail = (
        "UPDATE fm_pipeline.import_jobs SET status = 'failed', error_reason = %s, error_message = 'It stopped.',"
        " run_id = %s, completed_at = %s WHERE id = %s"
    )
    told = []
    for reason, attempts in (("orthanc_storage_full", 1), ("orthanc_login", MOST_ATTEMPTS)):
        while hospital.instance.get_runs_count(dg.RunsFilter(tags={JOB_TAG: str(job_of(request))})) < attempts:
            hospital.queue(request, dg.DagsterRunStatus.FAILURE)
        hospital.execute(fail, reason, run_id, datetime.now(UTC) - FIRST_PAUSE, job_of(request))
        told.append((job_of(requested(hospital.tick())) == job_of(request), outbox.claim(datetime.now(UTC))))
    assert [is_the_same for is_the_same, _ in told] == [True, False]
    subjects = [claim.email.subject for _, claim in told if claim]
    name = f"DICOM import {job_of(request)} has stopped"
    assert subjects == [f"{name} (orthanc_storage_full)", f"{name} (orthanc_login)"]
    assert all(f"Page: http://dagster.example/runs/{run_id}" in claim.email.body for _, claim in told if claim)


@pytest.mark.hard_case(41)
def test_without_a_mail_server_no_alarm_is_kept_and_an_outbox_that_cannot_be_written_ends_no_tick(
    hospital: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hospital.hospital.rename(tmp_path / "away")
    assert hospital.failed_tick().startswith("Alarm: ")
    outbox = hospital.settings.state_dir / "mails.sqlite"
    assert not outbox.exists()
    with_mail(hospital)
    outbox.mkdir()
    assert hospital.failed_tick().startswith("Alarm: ")
    assert "The email of an alarm could not be written" in caplog.text
    outbox.rmdir()
    hospital.failed_tick()
    assert Outbox(hospital.settings.state_dir).claim(datetime.now(UTC)), "the next tick has told it"


def test_a_database_that_does_not_answer_is_a_failed_tick(hospital: Bench) -> None:
    hospital.settings = dicom_settings("postgresql://nobody@127.0.0.1:1/none", hospital.hospital.parent)
    assert "NEXUS_DATABASE_URL" in hospital.failed_tick(DatabaseError)
