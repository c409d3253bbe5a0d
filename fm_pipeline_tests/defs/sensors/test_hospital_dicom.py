"""The sensor that watches the hospital's directory: real files, real tables, a real Dagster instance."""

from __future__ import annotations

import os
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
from fm_pipeline.errors import DicomError, PipelineError
from fm_pipeline.settings import Settings

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


def requested(result: dg.RunRequest | str) -> dg.RunRequest:
    assert isinstance(result, dg.RunRequest), result
    return result


def job_of(request: dg.RunRequest) -> int:
    return int(request.run_config["ops"][STEP]["config"]["job_id"])


def second_key(request: dg.RunRequest) -> str:
    return f"{str(request.run_key).removesuffix('-1')}-2"


def test_new_files_become_one_job_and_one_request_that_the_job_accepts(hospital: Bench) -> None:
    hospital.drop("a/1.dcm", "a/2.dcm", "b/3.dcm")
    request = requested(hospital.tick())
    job = get_job(hospital.database_url, job_of(request))
    assert (job.job_type, job.status, job.requested_by) == ("incremental", "pending", SENSOR)
    assert hospital.files_of(job.id) == {"ward/readme.txt", "a/1.dcm", "a/2.dcm", "b/3.dcm"}
    assert request.run_key == f"dicom-job-{job.id}-{job.created_at.astimezone(UTC):%Y%m%d%H%M%S}-attempt-1"
    assert request.tags == {JOB_TAG: str(job.id)}
    assert str(hospital.hospital) not in str(request)
    assert dg.validate_run_config(LOCATION.resolve_job_def("dicom_import"), request.run_config)


def test_what_is_imported_is_not_new_and_what_comes_later_is(hospital: Bench) -> None:
    hospital.carried_out(job_of(requested(hospital.tick())))
    said = str(hospital.tick())
    assert "Nothing new" in said
    assert "Every folder was listed within the last" in said
    hospital.drop("a/late.dcm")
    assert hospital.files_of(job_of(requested(hospital.tick()))) == {"a/late.dcm"}


@pytest.mark.hard_case(44)
def test_a_tick_during_a_running_import_starts_no_second_one(hospital: Bench) -> None:
    request = requested(hospital.tick())
    run_id = hospital.queue(request, dg.DagsterRunStatus.STARTING)
    hospital.drop("a/new.dcm")
    assert "waits or begins" in str(hospital.tick())
    with JobLedger(hospital.database_url, job_of(request)) as ledger:
        ledger.claim(run_id)
        assert f"Import job {job_of(request)} runs." in str(hospital.tick())
        hospital.end(run_id, dg.DagsterRunStatus.SUCCESS)
        assert "runs." in str(hospital.tick())  # also if Dagster knew nothing of it, as of a command
    assert len(list_jobs(hospital.database_url).jobs) == 1


@pytest.mark.hard_case(44)
def test_a_materialization_from_the_ui_counts_as_an_import_too(hospital: Bench) -> None:
    run = dg.DagsterRun(
        job_name="__ASSET_JOB",
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset({dg.AssetKey("orthanc_instances")}),
    )
    hospital.instance.add_run(run)
    assert "waits or begins" in str(hospital.tick())


@pytest.mark.hard_case(44)
def test_a_burst_makes_one_job_a_tick_and_each_is_bounded(hospital: Bench) -> None:
    hospital.configure(files_per_job=100)
    hospital.drop(*(f"burst/{number}.dcm" for number in range(249)))
    jobs = []
    while isinstance(result := hospital.tick(again=False), dg.RunRequest):
        jobs.append(job_of(result))
        hospital.carried_out(jobs[-1])
    assert [len(hospital.files_of(job_id)) for job_id in jobs] == [100, 100, 50]
    assert len(set.union(*(hospital.files_of(job_id) for job_id in jobs))) == 250


@pytest.mark.hard_case(44)
def test_what_came_while_the_sensor_was_off_is_found(hospital: Bench) -> None:
    hospital.carried_out(job_of(requested(hospital.tick())))
    hospital.configure(monitoring_enabled=False)
    hospital.drop("off/1.dcm")
    assert "Watching is off" in str(hospital.tick())
    hospital.cursor = None  # somebody has reset it
    hospital.configure(monitoring_enabled=True)
    assert hospital.files_of(job_of(requested(hospital.tick()))) == {"off/1.dcm"}


@pytest.mark.hard_case(44)
def test_nothing_starts_again_after_a_restart_but_what_was_lost(hospital: Bench) -> None:
    request = requested(hospital.tick())
    # The tick was cut off before Dagster knew of the request: the same one comes again, and no other.
    again = requested(hospital.tick())
    assert (again.run_key, job_of(again)) == (request.run_key, job_of(request))
    run_id = hospital.queue(again)
    # The machine was lost: the table says that it runs, and nobody does.
    hospital.execute("UPDATE fm_pipeline.import_jobs SET status = 'running' WHERE id = %s", job_of(request))
    hospital.end(run_id, dg.DagsterRunStatus.FAILURE)
    assert "was not carried out to its end; it is tried again at" in str(hospital.tick())
    hospital.execute("UPDATE fm_pipeline.import_jobs SET updated_at = updated_at - %s", FIRST_RESTART)
    assert requested(hospital.tick()).run_key == second_key(request)
    hospital.carried_out(job_of(request))
    assert "Nothing new" in str(hospital.tick())


def test_a_failed_job_is_tried_again_after_its_pause_with_another_run_key(hospital: Bench) -> None:
    request = requested(hospital.tick())
    hospital.end(hospital.queue(request), dg.DagsterRunStatus.FAILURE)
    job_id = job_of(request)
    fail = (
        "UPDATE fm_pipeline.import_jobs SET status = 'failed', error_reason = 'storage_full', completed_at = %s"
        " WHERE id = %s"
    )
    hospital.execute(fail, datetime.now(UTC), job_id)
    assert f"Import job {job_id} failed (storage_full); it is tried again at" in str(hospital.tick())
    hospital.execute(fail, datetime.now(UTC) - FIRST_PAUSE, job_id)
    assert requested(hospital.tick()).run_key == second_key(request)


def test_runs_of_another_job_that_had_the_id_before_the_database_was_restored_do_not_count(hospital: Bench) -> None:
    request = requested(hospital.tick())
    for _ in range(MOST_ATTEMPTS):
        hospital.queue(request, dg.DagsterRunStatus.FAILURE)
    hospital.execute("UPDATE fm_pipeline.import_jobs SET created_at = created_at + interval '1 hour'")
    other = requested(hospital.tick())
    assert job_of(other) == job_of(request)
    assert str(other.run_key).endswith("-attempt-1")
    assert other.run_key != request.run_key, "Dagster would start no run for the same key"


def test_new_files_do_not_wait_for_those_that_a_setting_keeps_out(hospital: Bench) -> None:
    request = requested(hospital.tick())
    hospital.end(hospital.queue(request), dg.DagsterRunStatus.FAILURE)
    job_id = job_of(request)
    hospital.carried_out(job_id)
    reason = "too_large_for_proxy"
    hospital.execute("UPDATE fm_pipeline.import_history SET status = 'failed', reason = %s", reason)
    hospital.execute(
        "UPDATE fm_pipeline.import_jobs SET status = 'failed', error_reason = %s WHERE id = %s", reason, job_id
    )
    assert "Nothing new" in str(hospital.tick())
    hospital.drop("ward/new.dcm")
    other = requested(hospital.tick())
    assert hospital.files_of(job_of(other)) == {"ward/new.dcm"}


def test_a_job_whose_process_is_lost_each_time_is_given_up_and_its_files_come_into_another_one(hospital: Bench) -> None:
    request = requested(hospital.tick())
    job_id = job_of(request)
    for _ in range(MOST_ATTEMPTS):
        hospital.queue(request, dg.DagsterRunStatus.FAILURE)
    hospital.execute("UPDATE fm_pipeline.import_jobs SET status = 'running' WHERE id = %s", job_id)
    other = requested(hospital.tick())
    assert get_job(hospital.database_url, job_id).status == "cancelled"
    assert hospital.files_of(job_of(other)) == hospital.files_of(job_id)
    assert f"error: Import job {job_id} was given up" in log_file(hospital.settings).read_text()


def test_interval_path_and_quiet_period_hold_from_the_next_tick_on(hospital: Bench, tmp_path: Path) -> None:
    hospital.carried_out(job_of(requested(hospital.tick())))
    assert "The next look is in" in str(hospital.tick(again=False))
    hospital.configure(quiet_period=3600)
    hospital.drop("a/fresh.dcm")
    assert "1 file still within the quiet period" in str(hospital.tick())
    hospital.configure(quiet_period=0)
    assert hospital.files_of(job_of(requested(hospital.tick()))) == {"a/fresh.dcm"}


@pytest.mark.hard_case(43)
def test_files_of_a_job_that_somebody_cancelled_wait_for_a_person_and_the_sensor_goes_on_with_others(
    hospital: Bench,
) -> None:
    hospital.drop("a/cancelled.dcm")
    job_id = job_of(requested(hospital.tick()))
    request_cancel(hospital.database_url, job_id)
    said = str(hospital.tick())
    assert said.startswith("Nothing new.")
    assert "2 files of jobs that somebody has cancelled" in said
    hospital.drop("a/other.dcm")
    other = job_of(requested(hospital.tick()))
    assert hospital.files_of(other) == {"a/other.dcm"}
    hospital.carried_out(other)
    hospital.carried_out(job_id)  # somebody has gone on with it
    assert "cancelled" not in str(hospital.tick())


def test_a_cancelled_job_is_left_alone(hospital: Bench) -> None:
    request = requested(hospital.tick())
    request_cancel(hospital.database_url, job_of(request))
    hospital.configure(monitoring_enabled=False)
    assert isinstance(hospital.tick(), str)
    assert get_job(hospital.database_url, job_of(request)).status == "cancelled"


def nightly(hospital: Bench) -> dg.RunRequest | str:
    context = dg.build_schedule_context(hospital.instance, scheduled_execution_time=datetime.now(UTC))
    result: Any = nightly_dicom_import(lambda: hospital.settings)(context)
    return result.skip_message or "" if isinstance(result, dg.SkipReason) else result


def test_the_nightly_import_needs_its_switch_keeps_its_interval_and_does_not_overlap(
    hospital: Bench, tmp_path: Path
) -> None:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as hospital.instance:
        _nightly_keeps_its_rules(hospital)


def _nightly_keeps_its_rules(hospital: Bench) -> None:
    assert "The nightly import is off" in str(nightly(hospital))
    hospital.configure(sync_enabled=True)
    request = requested(nightly(hospital))
    assert request.run_config["ops"][STEP]["config"] == {
        "job_type": "incremental",
        "requested_by": "nightly_dicom_import",
        "pull_from_ftp": False,
    }
    assert dg.validate_run_config(LOCATION.resolve_job_def("dicom_import"), request.run_config)
    assert "sync_interval has not passed" in str(nightly(hospital))
    hospital.execute(
        "UPDATE fm_pipeline.sync_configuration SET last_sync_at = %s", datetime.now(UTC) - timedelta(days=1)
    )
    hospital.configure(ftp_host="ftp.example", ftp_enabled=True)
    run_id = hospital.queue(requested(hospital.tick()))
    assert "runs or waits already" in str(nightly(hospital))
    hospital.end(run_id, dg.DagsterRunStatus.SUCCESS)
    assert requested(nightly(hospital)).run_config["ops"][STEP]["config"]["pull_from_ftp"] is True
