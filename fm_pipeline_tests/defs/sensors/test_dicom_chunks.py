"""An import in chunks as runs of Dagster: the run that starts it, the sensor, and a run for each chunk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.definitions import build_defs
from fm_pipeline.defs.assets.dicom import INSTANCES, INVENTORY, STEP
from fm_pipeline.defs.dicom_chunks_job import CHUNK_STEP
from fm_pipeline.defs.names import CHUNK_TAG
from fm_pipeline.defs.run_coordinator import AttributingRunCoordinator
from fm_pipeline.defs.sensors import dicom_chunks
from fm_pipeline.defs.sensors.dicom_chunks import dicom_chunks_sensor, dicom_comparison_sensor
from fm_pipeline.dicom.history.jobs import get_job, list_jobs, request_cancel
from fm_pipeline.dicom.importer.cut import create_shared_job
from fm_pipeline.dicom.scan.excluded_folders import KNOWN
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.dicom import dicom_settings
from fm_pipeline_tests.support.orthanc import emptied, need_orthanc
from fm_pipeline_tests.support.services import LazyStack


class Bench:
    """A code location, an instance, and what the daemon does with the sensor's requests."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        self.database_url = settings.nexus_database_url.get_secret_value()
        self.defs = build_defs(read_settings=lambda: settings)

    def run(self, **config: Any) -> dg.ExecuteInProcessResult:
        return self.carry_out(
            "dicom_import_chunks", dg.RunRequest(run_config={"ops": {CHUNK_STEP: {"config": config}}})
        )

    def tick(self) -> list[tuple[str, dg.RunRequest]]:
        """The requests of both sensors, with the names of their jobs."""
        requested = []
        for make in (dicom_chunks_sensor, dicom_comparison_sensor):
            sensor = make(lambda: self.settings)
            result = sensor(dg.build_sensor_context(self.instance))
            if not isinstance(result, dg.SkipReason):
                assert isinstance(result, list)
                requested += [(sensor.job_name or "", request) for request in result]
        return requested

    def carry_out(self, job_name: str, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def(job_name).execute_in_process(
            instance=self.instance, raise_on_error=False, run_config=request.run_config, tags=request.tags
        )


@pytest.fixture
def bench(stack: LazyStack, migrated_url: str, tmp_path: Path) -> Iterator[Bench]:
    need_orthanc()
    for name in ("a", "b", "c"):
        write_series(tmp_path / "hospital" / name, 4, 2_000, name=name)
    orthanc = {name.lower(): value for name, value in emptied(stack.orthanc).settings().items()}
    (tmp_path / "dagster").mkdir()
    settings = dicom_settings(migrated_url, tmp_path, orthanc_never_overwrites=True, **orthanc)
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Bench(settings, instance)


def prepared(bench: Bench) -> int:
    hospital = str(bench.settings.hospital_data_path)
    return create_shared_job(
        bench.database_url, hospital, "initial", requested_by="test", excluded=KNOWN, chunk_files=4
    ).id


def chunks(requests: list[tuple[str, dg.RunRequest]]) -> list[str]:
    return [request.tags[CHUNK_TAG] for _, request in requests]


def test_each_chunk_is_a_run_and_the_last_one_materializes_the_job(bench: Bench) -> None:
    job_id = prepared(bench)
    assert bench.tick() == []  # nobody has started it
    assert bench.run(job_id=job_id).success
    requests = bench.tick()
    assert chunks(requests) == [f"{job_id}/1", f"{job_id}/2", f"{job_id}/3"]
    assert all(bench.carry_out(*request).success for request in requests)
    requests = bench.tick()
    assert chunks(requests) == [f"{job_id}/4"]
    result = bench.carry_out(*requests[0])
    keys = {each.asset_key for each in result.asset_materializations_for_node(STEP)}
    assert (result.success, keys) == (True, {INVENTORY, INSTANCES})
    job = get_job(bench.database_url, job_id)
    assert (job.status, job.files_imported, job.instances_missing) == ("completed", 12, 0)
    assert bench.tick() == []


def test_a_run_whose_host_is_gone_fails_and_its_chunk_is_launched_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = prepared(bench)
    bench.run(job_id=job_id)
    tags = {CHUNK_TAG: f"{job_id}/2"}
    run = bench.instance.add_run(
        dg.DagsterRun(job_name="dicom_import_chunks", status=dg.DagsterRunStatus.STARTED, tags=tags)
    )
    assert chunks(bench.tick()) == [f"{job_id}/1", f"{job_id}/3"]
    monkeypatch.setattr(dicom_chunks, "WITHOUT_A_CHUNK", timedelta(0))
    assert chunks(bench.tick()) == [f"{job_id}/1", f"{job_id}/2", f"{job_id}/3"]
    ended = bench.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE


def test_an_import_is_cancelled_with_the_run_of_a_chunk_also_before_and_after_its_code(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = prepared(bench)
    bench.run(job_id=job_id)
    run = bench.instance.add_run(
        dg.DagsterRun(
            job_name="dicom_import_chunks", status=dg.DagsterRunStatus.STARTING, tags={CHUNK_TAG: f"{job_id}/2"}
        )
    )
    monkeypatch.setattr("fm_pipeline.defs.run_coordinator.load_settings", lambda: bench.settings)
    coordinator = AttributingRunCoordinator()
    coordinator.register_instance(bench.instance)
    coordinator.cancel_run(run.run_id)
    assert get_job(bench.database_url, job_id).status == "cancelled"
    assert bench.tick() == []


def test_a_cancel_after_the_last_file_of_a_chunk_is_noticed(bench: Bench) -> None:
    job_id = prepared(bench)
    bench.run(job_id=job_id)
    with connect(bench.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION cancel() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " UPDATE fm_pipeline.import_jobs SET cancel_requested_at = now(); RETURN NEW; END $$;"
            "CREATE TRIGGER cancel AFTER UPDATE ON fm_pipeline.import_chunks FOR EACH ROW"
            " WHEN (NEW.done_at IS NOT NULL) EXECUTE FUNCTION cancel()"
        )
        connection.commit()
    assert bench.carry_out(*bench.tick()[0]).success
    assert get_job(bench.database_url, job_id).status == "cancelled"


def test_a_run_cuts_the_configured_directory_and_starts_the_job(bench: Bench) -> None:
    result = bench.run(job_type="initial")
    assert result.success
    (job,) = list_jobs(bench.database_url).jobs
    assert (job.status, job.total_files, job.files_processed) == ("running", 12, 0)
    assert chunks(bench.tick()) == [f"{job.id}/1"]
    request_cancel(bench.database_url, job.id)
    assert bench.tick() == []
    assert get_job(bench.database_url, job.id).status == "cancelled"
