"""Cancelled import jobs: how soon they stop, and what is recorded."""

from __future__ import annotations

import pytest

from fm_pipeline.dicom.history.jobs import request_cancel
from fm_pipeline.dicom.importer.run_job import run_job
from fm_pipeline.dicom.importer.workers import Task, Workers
from fm_pipeline.errors import RequestError
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.dicom.bench import ImportBench
from fm_pipeline_tests.dicom.importer.test_run import Watching
from fm_pipeline_tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast the machine is, a cancel is then heard long before the last file."""
    monkeypatch.setattr("fm_pipeline.dicom.importer.coordinator.BUNDLE_FILES", 16)
    monkeypatch.setattr("fm_pipeline.dicom.importer.coordinator._BATCH_ENTRIES", 16)


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("way", ["ledger", "Ctrl-C"])
@pytest.mark.hard_case(43)
def test_a_cancelled_job_records_what_was_on_its_way_and_can_be_resumed(importing: ImportBench, way: str) -> None:
    write_series(importing.folder, 900, 2_000)
    job_id = importing.new_job()
    if way == "ledger":
        watching = Watching(1, lambda: request_cancel(importing.url, job_id))
        assert run_job(importing.settings, job_id, on_progress=watching).status == "cancelled"
    else:
        with pytest.raises(KeyboardInterrupt):
            run_job(importing.settings, job_id, on_progress=Watching(1, interrupt))
    stopped = importing.job(job_id)
    assert stopped.status == "cancelled"
    assert 0 < stopped.files_imported < 900
    assert importing.instances() == stopped.files_imported == len(importing.rows(job_id))
    resumed = importing.run(job_id)
    assert (resumed.status, resumed.files_imported, importing.instances()) == ("completed", 900, 900)
    with pytest.raises(RequestError, match="completed"):
        importing.run(job_id)


@pytest.mark.hard_case(43)
def test_an_incremental_job_that_is_resumed_counts_each_file_once(importing: ImportBench) -> None:
    write_series(importing.folder / "known", 5, 2_000, name="known")
    importing.imported()
    importing.imported("incremental")
    write_series(importing.folder / "new", 600, 2_000, name="new")
    job_id = importing.new_job("incremental")
    cancelling = Watching(1, lambda: request_cancel(importing.url, job_id))
    stopped = run_job(importing.settings, job_id, on_progress=cancelling)
    assert (stopped.status, stopped.files_unchanged) == ("cancelled", 5)
    assert 0 < stopped.files_imported < 600
    job = importing.run(job_id)
    assert (job.status, job.files_unchanged, job.total_files) == ("completed", 5, 600)
    assert importing.outcomes(job_id) == {"imported": 600}


@pytest.mark.hard_case(43)
def test_a_cancel_is_heard_though_the_threads_take_every_file_as_soon_as_it_is_offered(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = Workers.offer

    def offer_and_see_it_taken(self: Workers, bundle: list[Task]) -> bool:
        offered = offer(self, bundle)
        wait_until(self._bundles.empty, limit_seconds=30)
        return offered

    monkeypatch.setattr(Workers, "offer", offer_and_see_it_taken)
    write_series(importing.folder, 600, 2_000)
    job_id = importing.new_job()
    stopped = run_job(
        importing.settings, job_id, on_progress=Watching(1, lambda: request_cancel(importing.url, job_id))
    )
    assert stopped.status == "cancelled"
    assert 0 < stopped.files_imported < 600
