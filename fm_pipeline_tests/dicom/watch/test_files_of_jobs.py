"""Polling the watched directory: files that an unfinished or cancelled job has."""

from __future__ import annotations

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline_tests.dicom.watch.watching import MUCH_LATER, Watched, record
from fm_pipeline_tests.support.postgres import rows_read


@pytest.mark.parametrize("status", ["pending", "running"])
@pytest.mark.hard_case(44)
def test_what_a_job_has_that_waits_or_runs_is_not_given_again(watched: Watched, status: str) -> None:
    watched.write("a.dcm")
    (file,) = watched.tick().new_files
    job = record(watched.connection, [], job_status=status)
    with watched.connection.cursor() as cursor:
        cursor.execute("INSERT INTO fm_pipeline.import_job_files VALUES (%s, %s)", (job, file.path))
    watched.connection.commit()
    assert watched.names() == set()
    with watched.connection.cursor() as cursor:
        cursor.execute("UPDATE fm_pipeline.import_jobs SET status = 'cancelled'")
    watched.connection.commit()
    assert watched.names() == {"a.dcm"}


def test_a_file_of_a_cancelled_job_that_a_later_job_has_recorded_waits_no_more(watched: Watched) -> None:
    path = watched.write("a.dcm")
    (file,) = watched.tick().new_files
    job = record(watched.connection, [], job_status="cancelled")
    with watched.connection.cursor() as cursor:
        cursor.execute("INSERT INTO fm_pipeline.import_job_files VALUES (%s, %s)", (job, file.path))
        cursor.execute("UPDATE fm_pipeline.import_jobs SET cancel_requested_at = now()")
    watched.connection.commit()
    assert (watched.names(), watched.tick().cancelled) == (set(), 1)
    watched.settle()  # somebody has imported its directory
    path.unlink()
    path.write_bytes(b"corrected")
    assert watched.names(MUCH_LATER) == {"a.dcm"}


def test_a_tick_reads_only_those_files_of_cancelled_jobs_that_it_meets(watched: Watched, ledger: str) -> None:
    watched.write("known.dcm")
    watched.settle()
    job = record(watched.connection, [], job_status="cancelled")
    with watched.connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO fm_pipeline.import_job_files SELECT %s, format('/elsewhere/%%s', n)"
            " FROM generate_series(1, 5000) n",
            (job,),
        )
        cursor.execute("UPDATE fm_pipeline.import_jobs SET cancel_requested_at = now() WHERE id = %s", (job,))
    watched.connection.commit()
    with watched.connection.cursor() as cursor:
        cursor.execute("ANALYZE fm_pipeline.import_job_files")
    watched.connection.commit()

    def tick() -> None:
        with connect(ledger) as watched.connection:
            watched.tick()

    assert rows_read(ledger, "import_job_files", tick) == 0
    watched.write("new.dcm")
    assert rows_read(ledger, "import_job_files", tick) == 0
