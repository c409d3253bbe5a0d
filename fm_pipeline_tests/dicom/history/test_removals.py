"""What stays of a job because others rely on it. Removals themselves are tested with an Orthanc."""

from __future__ import annotations

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.choices import JobType
from fm_pipeline.dicom.history.jobs import create_job
from fm_pipeline.dicom.history.removals import Takeback, read_takeback
from fm_pipeline_tests.dicom.history.test_jobs import execute, new_job, row


def test_the_jobs_that_found_the_files_of_a_job_again_are_named(database_url: str) -> None:
    migrate(database_url)
    first, again, other = (new_job(database_url) for _ in range(3))
    for job_id, instance, status in (
        (first, "a", "imported"),
        (first, "b", "imported"),
        (again, "a", "already_there"),
        (again, "c", "imported"),
        (other, "b", "duplicate"),
    ):
        execute(
            database_url,
            "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status,"
            " orthanc_instance_id) VALUES (%s, '/a', 'a', gen_random_uuid(), %s, %s)",
            *(job_id, status, instance),
        )

    assert takeback(database_url, first) == Takeback(stays=True, found_again_by=[other, again])
    assert takeback(database_url, again) == Takeback(removable=True)
    assert takeback(database_url, other) == Takeback()
    execute(database_url, "UPDATE fm_pipeline.import_history SET removed_at = now() WHERE job_id = %s", first)
    assert takeback(database_url, first) == Takeback()


def takeback(url: str, job_id: int) -> Takeback:
    with connect(url) as connection, connection.cursor() as cursor:
        return read_takeback(cursor, job_id)


@pytest.mark.parametrize(
    ("kind", "outcome", "stored", "keeps"),
    [
        ("manual", "already_there", 0, False),
        ("incremental", "already_there", 5, False),
        ("manual", "already_there", 5, True),  # as after a cancelled job: a person has imported the directory
        ("incremental", "imported", 1, True),  # Orthanc had lost it, and the instance that it has is of this job
    ],
)
def test_a_later_job_that_read_the_same_file_again_keeps_its_instance_if_it_stored_something(
    database_url: str, kind: JobType, outcome: str, stored: int, keeps: bool
) -> None:
    migrate(database_url)
    first, later = new_job(database_url), create_job(database_url, "/hospital", kind, requested_by="test").id
    row(database_url, first, "/hospital/1", "imported", "0" * 32)
    row(database_url, later, "/hospital/1", outcome, "0" * 32)
    execute(database_url, "UPDATE fm_pipeline.import_history SET orthanc_instance_id = 'a'")
    execute(database_url, "UPDATE fm_pipeline.import_jobs SET files_imported = %s WHERE id = %s", stored, later)
    kept = Takeback(stays=True, found_again_by=[later])
    assert takeback(database_url, first) == (kept if keeps else Takeback(removable=True))
