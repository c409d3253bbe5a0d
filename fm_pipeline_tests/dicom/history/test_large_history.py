"""What is asked of a history of millions of files reads the rows that it is about, and not all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.history.erase_patient import _folders_of_nobody_else, erase_patient_files
from fm_pipeline.dicom.history.erased_ids import ErasedId, known_ids
from fm_pipeline.dicom.history.history import list_history
from fm_pipeline.dicom.history.job_ledger import JobLedger
from fm_pipeline.dicom.history.removals import (
    begin_removal,
    end_removal,
    new_removal_id,
    next_removable,
    record_removed,
)
from fm_pipeline.dicom.importer import verify
from fm_pipeline.dicom.importer.verify import next_instances
from fm_pipeline.dicom.watch.history_lookup import directories_to_look_up
from fm_pipeline_tests.dicom.history.test_jobs import execute, new_job
from fm_pipeline_tests.support.postgres import rows_read

FILES = """
INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, file_size_bytes, file_hash, status,
    orthanc_instance_id, patient_id, archive_hash)
SELECT %s, format('/hospital/%%s/%%s/%%s', %s, n %% 50, n), n::text, md5(format('%%s/%%s', %s, n))::uuid, 10,
       md5(n::text), 'imported', md5(format('%%s/%%s', %s, n)), 'P' || n %% 50,
       md5((n %% 9)::text)::uuid FROM generate_series(1, %s) n
"""


def fill(url: str, files: int) -> int:
    """Make two jobs of so many files; return the second."""
    for _ in range(2):
        job_id = new_job(url)
        execute(url, FILES, *[job_id] * 4, files)
        execute(
            url,
            "UPDATE fm_pipeline.import_jobs SET files_imported = %s, status = 'completed' WHERE id = %s",
            files,
            job_id,
        )
    execute(url, "ANALYZE fm_pipeline.import_history, fm_pipeline.import_jobs")
    return job_id


def compare_all(url: str, job_id: int) -> None:
    after, compared = "", 0
    with connect(url) as connection, connection.cursor() as cursor:
        while rows := next_instances(cursor, job_id, after):
            after, compared = rows[-1][0], compared + len(rows)


def remove_all(url: str, job_id: int) -> None:
    after = ""
    with connect(url) as connection, connection.cursor() as cursor:
        removal = begin_removal(cursor, new_removal_id(cursor), job_id, planned=1, requested_by="x", run_id=None)
        while rows := next_removable(cursor, job_id, after, 50):
            after = rows[-1].orthanc_id
            record_removed(cursor, removal, [row.orthanc_id for row in rows])
        end_removal(cursor, removal)


def lose_half(url: str, job_id: int) -> None:
    """Record that Orthanc has lost every second instance, as a comparison does."""
    execute(url, "UPDATE fm_pipeline.import_jobs SET status = 'running' WHERE id = %s", job_id)
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT orthanc_instance_id FROM fm_pipeline.import_history WHERE job_id = %s", (job_id,))
        ids = [own for (own,) in cursor.fetchall()]
    with JobLedger(url, job_id) as ledger:
        for begin in range(0, len(ids), 100):
            verify._write_down(ledger, ids[begin : begin + 100 : 2], ids[begin + 1 : begin + 100 : 2])
        verify._end(ledger, verify.Comparison(len(ids), len(ids) // 2, 0))


@pytest.mark.parametrize(
    ("work", "files", "times"), [(compare_all, 8_000, 5), (remove_all, 10_000, 10), (lose_half, 5_000, 10)]
)
def test_each_row_of_a_large_job_is_read_a_few_times(
    ledger: str, work: Callable[[str, int], None], files: int, times: int
) -> None:
    job_id = fill(ledger, files)
    assert files <= rows_read(ledger, "import_history", lambda: work(ledger, job_id)) < times * files


def test_a_page_of_the_history_reads_no_more_than_its_rows(ledger: str) -> None:
    job_id = fill(ledger, 1_000)
    for of_job in (job_id, None):
        read = rows_read(ledger, "import_history", lambda of_job=of_job: list_history(ledger, job_id=of_job, limit=50))  # type: ignore[misc]
        assert 50 <= read < 100


def test_only_directories_are_looked_up_when_orthanc_has_lost_everything(ledger: str) -> None:
    job_id = fill(ledger, 500)
    execute(ledger, "UPDATE fm_pipeline.import_history SET missing_since = now() WHERE job_id = %s", job_id)
    with connect(ledger) as connection, connection.cursor() as cursor:
        assert directories_to_look_up(cursor) == {f"/hospital/{job_id}/{number}" for number in range(50)}
        assert cursor.rowcount == 50


def test_an_erasure_asks_for_the_folders_above_all_others_of_a_patient_and_reads_the_history_a_few_times(
    ledger: str,
) -> None:
    job_id = fill(ledger, 2_000)
    execute(
        ledger,
        "UPDATE fm_pipeline.import_history SET patient_id = 'X',"
        " file_path = format('/hospital/x/%%s/%%s.zip!/%%s', id %% 40, id, id)"
        " WHERE job_id = %s AND patient_id IN ('P7', 'P8')",
        job_id,
    )

    def erase() -> None:
        with connect(ledger) as connection, connection.cursor() as cursor:
            assert erase_patient_files(cursor, ["X"], ["/hospital"])["import_history"] == 80
            connection.commit()

    assert rows_read(ledger, "import_history", erase) < 6 * 4_000
    with connect(ledger) as connection, connection.cursor() as cursor:
        names = {f"/hospital/{name}" for name in ("x", "x/1", "x/1/7.zip!", "x/2", f"{job_id}", f"{job_id}/3")}
        assert _folders_of_nobody_else(cursor, ["X"], names) == ["/hospital/x"]
        assert _folders_of_nobody_else(cursor, ["P3"], names - {"/hospital/x"}) == [
            *(f"/hospital/{name}" for name in (f"{job_id}/3", "x/1", "x/2"))
        ]


def test_an_erasure_of_many_patient_ids_reads_the_history_as_often_as_one_of_a_single_id(ledger: str) -> None:
    fill(ledger, 1_000)

    def look_up(ids: list[str]) -> None:
        with connect(ledger) as connection, connection.cursor() as cursor:
            assert all(each.files == 40 for each in known_ids(cursor, ids))

    for ids in (["P7"], [f"P{number}" for number in range(40)]):
        assert rows_read(ledger, "import_history", lambda ids=ids: look_up(ids)) == 2_000  # type: ignore[misc]


def test_each_patient_id_of_an_erasure_is_counted_by_itself_and_with_all_its_spellings(ledger: str) -> None:
    fill(ledger, 500)
    execute(
        ledger,
        "UPDATE fm_pipeline.import_history SET study_uid = '1.' || id, study_month = '2031-0' || mod(id, 9) + 1,"
        " patient_id = patient_id || CASE WHEN patient_id = 'P8' AND mod(id, 2) = 0 THEN ' ' ELSE '' END",
    )
    with connect(ledger) as connection, connection.cursor() as cursor:
        seven, unknown, eight = known_ids(cursor, ["P7", "nobody", "P8  ", "P7"])
    assert [(each.given, each.files, each.studies) for each in (seven, eight)] == [("P7", 20, 20), ("P8  ", 20, 20)]
    assert "2031-01" <= (seven.first_month or "") <= (seven.last_month or "") <= "2031-09"
    assert unknown == ErasedId("nobody", False, 0, 0, 0, None, None)
