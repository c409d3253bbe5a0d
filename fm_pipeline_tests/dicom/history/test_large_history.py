"""What is asked of a history of millions of files reads the rows that it is about, and not all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.history.history import list_history
from fm_pipeline.dicom.history.removals import (
    begin_removal,
    end_removal,
    new_removal_id,
    next_removable,
    record_removed,
)
from fm_pipeline.dicom.importer.verify import next_instances
from fm_pipeline.dicom.watch.history_lookup import directories_to_look_up
from fm_pipeline_tests.dicom.history.test_jobs import execute, new_job
from fm_pipeline_tests.support.postgres import rows_read

FILES = """
INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, file_size_bytes, file_hash, status,
    orthanc_instance_id, patient_id)
SELECT %s, format('/hospital/%%s/%%s/%%s', %s, n %% 50, n), n::text, md5(format('%%s/%%s', %s, n))::uuid, 10,
       md5(n::text), 'imported', md5(format('%%s/%%s', %s, n)), 'P' || n %% 50 FROM generate_series(1, %s) n
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


@pytest.mark.parametrize(("work", "files", "times"), [(compare_all, 8_000, 5), (remove_all, 10_000, 10)])
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
