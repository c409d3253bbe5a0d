"""Incremental jobs: which files they skip, and which they never skip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.dicom.importer.run_job import ImportFailed
from fm_pipeline.dicom.model import FoundFile, SetAside
from fm_pipeline.dicom.watch.history_lookup import HistoryState, look_up_history
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.dicom.bench import ImportBench

_UPDATE = "UPDATE fm_pipeline.import_history SET "
_WHERE = " WHERE job_id = %s AND file_path = %s"
ENDINGS = {
    "failed": f"{_UPDATE} status = 'failed', reason = 'orthanc_timeout' {_WHERE}",
    "lost by Orthanc": f"{_UPDATE} missing_since = now() {_WHERE}",
}


@pytest.mark.hard_case(45)
def test_an_incremental_job_asks_history_for_no_file_of_a_directory_that_is_as_it_was(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_series(importing.folder / name, 3, 2_000, name=name)
    (importing.folder / "a" / "link").symlink_to("nowhere")
    importing.imported()
    assert importing.imported("incremental").files_unchanged == 7
    new = importing.put("b/new.dcm", as_file(image("new")))
    asked: list[str] = []

    def asks(cursor: Cursor, met: Sequence[FoundFile | SetAside]) -> list[HistoryState]:
        asked.extend(each.path for each in met)
        return look_up_history(cursor, met)

    monkeypatch.setattr("fm_pipeline.dicom.watch.new_files.look_up_history", asks)
    job = importing.imported("incremental")
    assert {Path(path).parent.name for path in asked} == {"b"}
    assert set(importing.rows(job.id)) == {str(new)}
    assert (job.files_unchanged, job.total_files, job.files_imported, job.scan_complete) == (7, 1, 1, True)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.hard_case(42)
def test_what_did_not_end_well_is_tried_again_by_the_next_incremental_job_though_its_directory_is_as_it_was(
    importing: ImportBench, ending: str
) -> None:
    path, *_ = write_series(importing.folder, 3, 2_000)
    importing.imported()
    importing.imported("incremental")  # remembers the directory
    again = importing.imported("manual")  # a later import, which tried the file once more
    importing.execute(ENDINGS[ending], again.id, str(path))
    job = importing.imported("incremental")
    assert set(importing.rows(job.id)) == {str(path)}
    assert (job.files_unchanged, job.files_already_there) == (2, 1)
    assert importing.imported("incremental").files_unchanged == 3


@pytest.mark.hard_case(43)
def test_a_database_that_is_lost_while_an_incremental_job_scans_costs_nothing(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(importing.folder, 3, 2_000)
    lost: list[int] = []

    def loses(cursor: Cursor, met: Sequence[FoundFile | SetAside]) -> list[HistoryState]:
        if not lost:
            lost.append(1)
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return look_up_history(cursor, met)

    monkeypatch.setattr("fm_pipeline.dicom.watch.new_files.look_up_history", loses)
    job = importing.imported("incremental")
    assert (lost, job.status, importing.outcomes(job.id)) == ([1], "completed", {"imported": 3})


@pytest.mark.hard_case(41)
def test_an_incremental_job_on_an_empty_directory_says_so_and_forgets_nothing(importing: ImportBench) -> None:
    (path,) = write_series(importing.folder, 1, 2_000)
    importing.imported("incremental")
    importing.imported("incremental")
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(ImportFailed) as empty:
        importing.imported("incremental")
    assert empty.value.job.error_reason == "no_files"
    path.write_bytes(content)
    assert importing.imported("incremental").files_already_there == 1
