"""Jobs that are carried out in parts, against a real Orthanc."""

from __future__ import annotations

import io
import threading
import zipfile

import pytest

from fm_pipeline.dicom.api import bounded_scan
from fm_pipeline.dicom.api.batches import Batches
from fm_pipeline.dicom.choices import JOB_TYPES
from fm_pipeline.dicom.history.jobs import Job
from fm_pipeline.errors import RequestError
from fm_pipeline.sandbox.dicom.series import series, write_series
from fm_pipeline_tests.dicom.bench import ImportBench


@pytest.fixture
def imports(importing: ImportBench) -> ImportBench:
    settings = importing.settings.model_copy(update={"hospital_data_path": importing.folder})
    return ImportBench(settings, importing.folder)


def run_in_parts(imports: ImportBench, job_id: int, files: int) -> list[tuple[str, int]]:
    batches = Batches(imports.settings)
    seen: list[tuple[str, int]] = []
    while not seen or seen[-1][0] == "running":
        job = batches.process(job_id, actor="test", files=files)
        seen.append((job.status, job.files_processed))
    return seen


def test_a_part_takes_no_more_files_than_asked_for_and_the_last_one_completes_the_job(imports: ImportBench) -> None:
    write_series(imports.folder / "a", 20, 2_000)
    job_id = imports.new_job()
    assert run_in_parts(imports, job_id, 7) == [("running", 7), ("running", 14), ("completed", 20)]
    assert imports.outcomes(job_id) == {"imported": 20}
    assert imports.instances() == 20


def test_parts_of_one_file_get_through_archives_and_files_of_one_instance(imports: ImportBench) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, content in enumerate(series(3, 2_000, name="packed")):
            archive.writestr(f"IM{number}", content)
    (imports.folder / "a.zip").write_bytes(packed.getvalue())
    write_series(imports.folder / "b", 2, 2_000)
    (imports.folder / "c").write_bytes((imports.folder / "b" / "IM000000").read_bytes())
    job_id = imports.new_job()
    assert run_in_parts(imports, job_id, 1)[-1] == ("completed", 7)
    assert imports.outcomes(job_id) == {"imported": 5, "duplicate": 1, "skipped": 1}


def test_calls_at_the_same_time_share_one_part(imports: ImportBench) -> None:
    write_series(imports.folder / "a", 30, 2_000)
    job_id, batches = imports.new_job(), Batches(imports.settings)
    seen: list[Job] = []
    calls = [
        threading.Thread(target=lambda: seen.append(batches.process(job_id, actor="test", files=100))) for _ in range(4)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert {job.status for job in seen} == {"completed"}
    assert sum(row.sends for row in imports.rows(job_id).values()) == 30


def test_a_caller_that_does_not_wait_is_told_that_the_job_runs_and_finds_it_completed_later(
    imports: ImportBench,
) -> None:
    write_series(imports.folder / "a", 3, 2_000)
    job_id, batches = imports.new_job(), Batches(imports.settings)
    assert batches.process(job_id, actor="test", files=100, seconds=0).status in ("pending", "running")
    assert batches.process(job_id, actor="test", files=100).status == "completed"
    with pytest.raises(RequestError, match="is completed") as refused:
        batches.process(job_id, actor="test", files=100)
    assert refused.value.code == 409


def test_a_part_whose_thread_could_not_start_is_not_waited_for(
    imports: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(imports.folder / "a", 2, 2_000)
    job_id, batches = imports.new_job(), Batches(imports.settings)
    start = threading.Thread.start

    def start_no_part(thread: threading.Thread) -> None:
        if thread.name.startswith("batch-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start_no_part)
        with pytest.raises(RuntimeError):
            batches.process(job_id, actor="test", files=100)
    assert batches.process(job_id, actor="test", files=100).status == "completed"


def test_a_scan_beyond_the_limit_ends_without_totals(imports: ImportBench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(imports.folder / "a", 5, 2_000)
    root = str(imports.folder)
    bytes_of_all = sum(path.stat().st_size for path in (imports.folder / "a").iterdir())
    for limit in (4, 5):
        monkeypatch.setattr(bounded_scan, "MOST_FILES", limit)
        ended = limit == 5
        for job_type in JOB_TYPES:
            counted = bounded_scan.count_files(imports.settings, root, job_type)
            assert counted == ((5, bytes_of_all) if ended else None)
        for preview in (bounded_scan.preview_bounded, bounded_scan.preview_new_bounded):
            found = preview(imports.settings, root)
            assert (found.ended, found.list_complete, len(found.files)) == (ended, ended, limit)
