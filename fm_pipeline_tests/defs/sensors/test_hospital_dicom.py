"""The sensor that watches the hospital's directory: real files, real tables, a real Dagster instance."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.definitions import build_defs
from fm_pipeline.defs.assets.dicom import JOB_TAG, STEP
from fm_pipeline.defs.schedules import nightly_dicom_import
from fm_pipeline.defs.sensors.hospital_dicom import hospital_dicom_sensor
from fm_pipeline.dicom.configuration.configuration import configure
from fm_pipeline.dicom.history.job_ledger import JobLedger
from fm_pipeline.dicom.history.jobs import SENSOR, get_job, list_jobs, request_cancel
from fm_pipeline.dicom.log import log_file
from fm_pipeline.dicom.sensor.decision import FIRST_PAUSE, FIRST_RESTART, MOST_ATTEMPTS, SensorCursor
from fm_pipeline.errors import DatabaseError, DicomError, PipelineError
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.dicom import dicom_settings

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
LOCATION = build_defs()


class Bench:
    """The sensor, its cursor from tick to tick, and an instance whose runs nobody carries out."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        self.database_url = settings.nexus_database_url.get_secret_value()
        self.hospital = settings.hospital_data_path or Path()
        self.cursor: str | None = None

    def configure(self, **changes: Any) -> None:
        configure(self.settings, changes, actor="test", now=datetime.now(UTC))

    def drop(self, *names: str) -> None:
        """Files that came an hour ago: their content does not matter to the sensor."""
        for name in names:
            path = self.hospital / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"content of " + name.encode())

    def tick(self, *, again: bool = True) -> dg.RunRequest | str:
        """One tick: a request, or why there is none; `again` lets the configured interval pass before."""
        if again and self.cursor:
            self.cursor = replace(SensorCursor.read(self.cursor), looked_at=LONG_AGO).write()
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        result = hospital_dicom_sensor(lambda: self.settings)(context)
        self.cursor = context.cursor
        if isinstance(result, dg.SkipReason):
            return result.skip_message or ""
        assert isinstance(result, dg.RunRequest)
        return result

    def failed_tick(self, kind: type[PipelineError] = DicomError) -> str:
        """A tick that Dagster shows as failed; what it says. The cursor stays as it was."""
        with pytest.raises(kind) as failure:
            self.tick()
        return str(failure.value)

    def queue(self, request: dg.RunRequest, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED) -> str:
        """What the daemon makes of a request."""
        tags = {**request.tags, "dagster/run_key": str(request.run_key)}
        return self.instance.add_run(dg.DagsterRun(job_name="dicom_import", status=status, tags=tags)).run_id

    def end(self, run_id: str, status: dg.DagsterRunStatus) -> None:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        self.instance.delete_run(run_id)
        self.instance.add_run(run.with_status(status))

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with connect(self.database_url) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            found = cursor.fetchall() if cursor.description else []
            connection.commit()
            return found

    def files_of(self, job_id: int) -> set[str]:
        rows = self.execute("SELECT file_path FROM fm_pipeline.import_job_files WHERE job_id = %s", job_id)
        return {os.path.relpath(path, self.hospital) for (path,) in rows}

    def carried_out(self, job_id: int) -> None:
        """As if an import had brought the files of the job to Orthanc."""
        for name in self.files_of(job_id):
            facts = (self.hospital / name).stat()
            self.execute(
                "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, file_size_bytes,"
                " modified_ns, changed_ns, status) VALUES (%s, %s, 'x', %s, %s, %s, %s, 'imported')",
                job_id,
                str(self.hospital / name),
                _hash(str(self.hospital / name)),
                facts.st_size,
                facts.st_mtime_ns,
                facts.st_ctime_ns,
            )
        self.execute(
            "UPDATE fm_pipeline.import_jobs SET status = 'completed', completed_at = now() WHERE id = %s", job_id
        )


def _hash(path: str) -> str:
    from fm_pipeline.dicom.paths import path_hash  # noqa: PLC0415

    return path_hash(path)


@pytest.fixture
def bench(migrated_url: str, tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "hospital").mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        running = Bench(dicom_settings(migrated_url, tmp_path), instance)
        running.drop("ward/readme.txt")
        running.configure(monitoring_enabled=True, quiet_period=0)
        yield running


def requested(result: dg.RunRequest | str) -> dg.RunRequest:
    assert isinstance(result, dg.RunRequest), result
    return result


def job_of(request: dg.RunRequest) -> int:
    return int(request.run_config["ops"][STEP]["config"]["job_id"])


def test_new_files_become_one_job_and_one_request_that_the_job_accepts(bench: Bench) -> None:
    bench.drop("a/1.dcm", "a/2.dcm", "b/3.dcm")
    request = requested(bench.tick())
    job = get_job(bench.database_url, job_of(request))
    assert (job.job_type, job.status, job.requested_by) == ("incremental", "pending", SENSOR)
    assert bench.files_of(job.id) == {"ward/readme.txt", "a/1.dcm", "a/2.dcm", "b/3.dcm"}
    assert request.run_key == f"dicom-job-{job.id}-attempt-1"
    assert request.tags == {JOB_TAG: str(job.id)}
    assert str(bench.hospital) not in str(request)
    assert dg.validate_run_config(LOCATION.resolve_job_def("dicom_import"), request.run_config)


def test_what_is_imported_is_not_new_and_what_comes_later_is(bench: Bench) -> None:
    bench.carried_out(job_of(requested(bench.tick())))
    said = str(bench.tick())
    assert "Nothing new" in said
    assert "Every folder was listed within the last" in said
    bench.drop("a/late.dcm")
    assert bench.files_of(job_of(requested(bench.tick()))) == {"a/late.dcm"}


@pytest.mark.hard_case(44)
def test_a_tick_during_a_running_import_starts_no_second_one(bench: Bench) -> None:
    request = requested(bench.tick())
    run_id = bench.queue(request, dg.DagsterRunStatus.STARTING)
    bench.drop("a/new.dcm")
    assert "waits or begins" in str(bench.tick())
    with JobLedger(bench.database_url, job_of(request)) as ledger:
        ledger.claim(run_id)
        assert f"Import job {job_of(request)} runs." in str(bench.tick())
        bench.end(run_id, dg.DagsterRunStatus.SUCCESS)
        assert "runs." in str(bench.tick())  # also if Dagster knew nothing of it, as of a command
    assert len(list_jobs(bench.database_url).jobs) == 1


@pytest.mark.hard_case(44)
def test_a_materialization_from_the_ui_counts_as_an_import_too(bench: Bench) -> None:
    run = dg.DagsterRun(
        job_name="__ASSET_JOB",
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset({dg.AssetKey("orthanc_instances")}),
    )
    bench.instance.add_run(run)
    assert "waits or begins" in str(bench.tick())


@pytest.mark.hard_case(44)
def test_a_burst_makes_one_job_a_tick_and_each_is_bounded(bench: Bench) -> None:
    bench.configure(files_per_job=100)
    bench.drop(*(f"burst/{number}.dcm" for number in range(249)))
    jobs = []
    while isinstance(result := bench.tick(again=False), dg.RunRequest):
        jobs.append(job_of(result))
        bench.carried_out(jobs[-1])
    assert [len(bench.files_of(job_id)) for job_id in jobs] == [100, 100, 50]
    assert len(set.union(*(bench.files_of(job_id) for job_id in jobs))) == 250


@pytest.mark.hard_case(44)
def test_what_came_while_the_sensor_was_off_is_found(bench: Bench) -> None:
    bench.carried_out(job_of(requested(bench.tick())))
    bench.configure(monitoring_enabled=False)
    bench.drop("off/1.dcm")
    assert "Monitoring is off" in str(bench.tick())
    bench.cursor = None  # somebody has reset it
    bench.configure(monitoring_enabled=True)
    assert bench.files_of(job_of(requested(bench.tick()))) == {"off/1.dcm"}


@pytest.mark.hard_case(44)
def test_nothing_starts_again_after_a_restart_but_what_was_lost(bench: Bench) -> None:
    request = requested(bench.tick())
    # The tick was cut off before Dagster knew of the request: the same one comes again, and no other.
    again = requested(bench.tick())
    assert (again.run_key, job_of(again)) == (request.run_key, job_of(request))
    run_id = bench.queue(again)
    # The machine was lost: the table says that it runs, and nobody does.
    bench.execute("UPDATE fm_pipeline.import_jobs SET status = 'running' WHERE id = %s", job_of(request))
    bench.end(run_id, dg.DagsterRunStatus.FAILURE)
    assert "was not carried out to its end; it is tried again at" in str(bench.tick())
    bench.execute("UPDATE fm_pipeline.import_jobs SET updated_at = updated_at - %s", FIRST_RESTART)
    assert requested(bench.tick()).run_key == f"dicom-job-{job_of(request)}-attempt-2"
    bench.carried_out(job_of(request))
    assert "Nothing new" in str(bench.tick())


def test_a_failed_job_is_tried_again_after_its_pause_with_another_run_key(bench: Bench) -> None:
    request = requested(bench.tick())
    bench.end(bench.queue(request), dg.DagsterRunStatus.FAILURE)
    job_id = job_of(request)
    fail = (
        "UPDATE fm_pipeline.import_jobs SET status = 'failed', error_reason = 'storage_full', completed_at = %s"
        " WHERE id = %s"
    )
    bench.execute(fail, datetime.now(UTC), job_id)
    assert f"Import job {job_id} failed (storage_full); it is tried again at" in str(bench.tick())
    bench.execute(fail, datetime.now(UTC) - FIRST_PAUSE, job_id)
    assert requested(bench.tick()).run_key == f"dicom-job-{job_id}-attempt-2"


def test_new_files_do_not_wait_for_those_that_a_setting_keeps_out(bench: Bench) -> None:
    request = requested(bench.tick())
    bench.end(bench.queue(request), dg.DagsterRunStatus.FAILURE)
    job_id = job_of(request)
    bench.carried_out(job_id)
    reason = "too_large_for_proxy"
    bench.execute("UPDATE fm_pipeline.import_history SET status = 'failed', reason = %s", reason)
    bench.execute(
        "UPDATE fm_pipeline.import_jobs SET status = 'failed', error_reason = %s WHERE id = %s", reason, job_id
    )
    assert "Nothing new" in str(bench.tick())
    bench.drop("ward/new.dcm")
    other = requested(bench.tick())
    assert bench.files_of(job_of(other)) == {"ward/new.dcm"}


def test_a_job_whose_process_is_lost_each_time_is_given_up_and_its_files_come_into_another_one(bench: Bench) -> None:
    request = requested(bench.tick())
    job_id = job_of(request)
    for _ in range(MOST_ATTEMPTS):
        bench.queue(request, dg.DagsterRunStatus.FAILURE)
    bench.execute("UPDATE fm_pipeline.import_jobs SET status = 'running' WHERE id = %s", job_id)
    other = requested(bench.tick())
    assert get_job(bench.database_url, job_id).status == "cancelled"
    assert bench.files_of(job_of(other)) == bench.files_of(job_id)
    assert f"error: Import job {job_id} was given up" in log_file(bench.settings).read_text()


def test_interval_path_and_quiet_period_hold_from_the_next_tick_on(bench: Bench, tmp_path: Path) -> None:
    bench.carried_out(job_of(requested(bench.tick())))
    assert "The next look is in" in str(bench.tick(again=False))
    bench.configure(quiet_period=3600)
    bench.drop("a/fresh.dcm")
    assert "1 file still within the quiet period" in str(bench.tick())
    bench.configure(quiet_period=0)
    assert bench.files_of(job_of(requested(bench.tick()))) == {"a/fresh.dcm"}


@pytest.mark.parametrize("fault", ["missing", "empty", "not allowed"])
@pytest.mark.hard_case(41)
def test_a_directory_that_is_not_there_raises_one_alarm_and_nothing_else(
    bench: Bench, tmp_path: Path, fault: str
) -> None:
    bench.carried_out(job_of(requested(bench.tick())))
    known = bench.execute("SELECT count(*) FROM fm_pipeline.import_history")
    bench.hospital.rename(tmp_path / "away")
    if fault != "missing":
        bench.hospital.mkdir()
    if fault == "not allowed":
        bench.settings = bench.settings.model_copy(update={"dicom_allowed_roots": str(tmp_path / "away")})
    for _ in range(3):
        assert bench.failed_tick().startswith("Alarm: ")
    assert str(tmp_path) not in bench.failed_tick()
    assert bench.execute("SELECT count(*) FROM fm_pipeline.import_history") == known
    assert len(list_jobs(bench.database_url).jobs) == 1
    alarms = bench.execute("SELECT detail FROM fm_pipeline.audit WHERE action = 'dicom_watch'")
    assert len(alarms) == 1, "when it begins, not at each tick"
    log = log_file(bench.settings).read_text()
    assert log.count("error: The watched directory cannot be read.") == 1
    assert str(tmp_path) not in log + str(alarms)
    bench.settings = bench.settings.model_copy(update={"dicom_allowed_roots": None})
    if bench.hospital.exists():
        bench.hospital.rmdir()
    (tmp_path / "away").rename(bench.hospital)
    bench.drop("a/back.dcm")
    back = job_of(requested(bench.tick()))
    assert bench.files_of(back) == {"a/back.dcm"}
    bench.carried_out(back)
    assert "Nothing new" in str(bench.tick())
    readable = "The watched directory can be read again."
    assert log_file(bench.settings).read_text().count(readable) == 1
    ended = bench.execute("SELECT outcome, detail FROM fm_pipeline.audit WHERE action = 'dicom_watch' ORDER BY id DESC")
    assert ended[0] == ("done", readable)
    assert len(ended) == 2


def with_mail(bench: Bench) -> Outbox:
    bench.settings = bench.settings.model_copy(
        update={"smtp_host": "mail.example", "dagster_ui_url": "http://dagster.example/"}
    )
    return Outbox(bench.settings.state_dir)


@pytest.mark.hard_case(41)
def test_an_alarm_of_the_directory_is_one_mail_each_time_that_it_begins(bench: Bench, tmp_path: Path) -> None:
    outbox = with_mail(bench)
    bench.carried_out(job_of(requested(bench.tick())))
    for _ in range(2):
        bench.hospital.rename(tmp_path / "away")
        for _ in range(3):
            assert bench.failed_tick().startswith("Alarm: ")
        claim = outbox.claim(datetime.now(UTC))
        assert claim
        assert claim.email.subject == "DICOM import: the watched directory cannot be read"
        assert "http://dagster.example/locations/fm_pipeline/sensors/hospital_dicom_sensor" in claim.email.body
        assert str(tmp_path) not in claim.email.body
        assert outbox.claim(datetime.now(UTC)) is None
        (tmp_path / "away").rename(bench.hospital)
        assert "Nothing new" in str(bench.tick())


@pytest.mark.hard_case(42)
def test_a_job_of_the_sensor_that_stops_is_one_mail_however_often_it_is_tried_again(bench: Bench) -> None:
    outbox = with_mail(bench)
    request = requested(bench.tick())
    bench.end(bench.queue(request), dg.DagsterRunStatus.FAILURE)
    fail = (
        "UPDATE fm_pipeline.import_jobs SET status = 'failed', error_reason = 'orthanc_storage_full',"
        " error_message = 'Orthanc is full.', completed_at = %s WHERE id = %s"
    )
    bench.execute(fail, datetime.now(UTC), job_of(request))
    for _ in range(3):
        assert "is tried again at" in str(bench.tick())
    claim = outbox.claim(datetime.now(UTC))
    assert claim
    assert claim.email.subject == f"DICOM import {job_of(request)} has stopped (orthanc_storage_full)"
    assert "Orthanc is full." in claim.email.body
    assert outbox.claim(datetime.now(UTC)) is None


@pytest.mark.hard_case(42)
def test_another_reason_is_another_mail_also_when_the_job_is_started_again_or_given_up(bench: Bench) -> None:
    outbox = with_mail(bench)
    request = requested(bench.tick())
    run_id = bench.queue(request, dg.DagsterRunStatus.FAILURE)
    fail = (
        "UPDATE fm_pipeline.import_jobs SET status = 'failed', error_reason = %s, error_message = 'It stopped.',"
        " run_id = %s, completed_at = %s WHERE id = %s"
    )
    told = []
    for reason, attempts in (("orthanc_storage_full", 1), ("orthanc_login", MOST_ATTEMPTS)):
        while bench.instance.get_runs_count(dg.RunsFilter(tags={JOB_TAG: str(job_of(request))})) < attempts:
            bench.queue(request, dg.DagsterRunStatus.FAILURE)
        bench.execute(fail, reason, run_id, datetime.now(UTC) - FIRST_PAUSE, job_of(request))
        told.append((job_of(requested(bench.tick())) == job_of(request), outbox.claim(datetime.now(UTC))))
    assert [is_the_same for is_the_same, _ in told] == [True, False]
    subjects = [claim.email.subject for _, claim in told if claim]
    name = f"DICOM import {job_of(request)} has stopped"
    assert subjects == [f"{name} (orthanc_storage_full)", f"{name} (orthanc_login)"]
    assert all(f"Page: http://dagster.example/runs/{run_id}" in claim.email.body for _, claim in told if claim)


@pytest.mark.hard_case(41)
def test_without_a_mail_server_no_alarm_is_kept_and_an_outbox_that_cannot_be_written_ends_no_tick(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench.hospital.rename(tmp_path / "away")
    assert bench.failed_tick().startswith("Alarm: ")
    outbox = bench.settings.state_dir / "mails.sqlite"
    assert not outbox.exists()
    with_mail(bench)
    outbox.mkdir()
    assert bench.failed_tick().startswith("Alarm: ")
    assert "The mail of an alarm could not be written" in caplog.text
    outbox.rmdir()
    bench.failed_tick()
    assert Outbox(bench.settings.state_dir).claim(datetime.now(UTC)), "the next tick has told it"


def test_a_database_that_does_not_answer_is_a_failed_tick(bench: Bench) -> None:
    bench.settings = dicom_settings("postgresql://nobody@127.0.0.1:1/none", bench.hospital.parent)
    assert "NEXUS_DATABASE_URL" in bench.failed_tick(DatabaseError)


@pytest.mark.hard_case(43)
def test_files_of_a_job_that_somebody_cancelled_wait_for_a_person_and_the_sensor_goes_on_with_others(
    bench: Bench,
) -> None:
    bench.drop("a/cancelled.dcm")
    job_id = job_of(requested(bench.tick()))
    request_cancel(bench.database_url, job_id)
    said = str(bench.tick())
    assert said.startswith("Nothing new.")
    assert "2 files of jobs that somebody has cancelled" in said
    bench.drop("a/other.dcm")
    other = job_of(requested(bench.tick()))
    assert bench.files_of(other) == {"a/other.dcm"}
    bench.carried_out(other)
    bench.carried_out(job_id)  # somebody has gone on with it
    assert "cancelled" not in str(bench.tick())


def test_a_cancelled_job_is_left_alone(bench: Bench) -> None:
    request = requested(bench.tick())
    request_cancel(bench.database_url, job_of(request))
    bench.configure(monitoring_enabled=False)
    assert isinstance(bench.tick(), str)
    assert get_job(bench.database_url, job_of(request)).status == "cancelled"


def nightly(bench: Bench) -> dg.RunRequest | str:
    context = dg.build_schedule_context(bench.instance, scheduled_execution_time=datetime.now(UTC))
    result: Any = nightly_dicom_import(lambda: bench.settings)(context)
    return result.skip_message or "" if isinstance(result, dg.SkipReason) else result


def test_the_nightly_import_needs_its_switch_keeps_its_interval_and_does_not_overlap(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as bench.instance:
        _nightly_keeps_its_rules(bench)


def _nightly_keeps_its_rules(bench: Bench) -> None:
    assert "Sync is off" in str(nightly(bench))
    bench.configure(sync_enabled=True)
    request = requested(nightly(bench))
    assert request.run_config["ops"][STEP]["config"] == {
        "job_type": "incremental",
        "requested_by": "nightly_dicom_import",
        "pull_from_ftp": False,
    }
    assert dg.validate_run_config(LOCATION.resolve_job_def("dicom_import"), request.run_config)
    assert "sync_interval has not passed" in str(nightly(bench))
    bench.execute("UPDATE fm_pipeline.sync_configuration SET last_sync_at = %s", datetime.now(UTC) - timedelta(days=1))
    bench.configure(ftp_host="ftp.example", ftp_enabled=True)
    run_id = bench.queue(requested(bench.tick()))
    assert "runs or waits already" in str(nightly(bench))
    bench.end(run_id, dg.DagsterRunStatus.SUCCESS)
    assert requested(nightly(bench)).run_config["ops"][STEP]["config"]["pull_from_ftp"] is True
