"""What stays of a job because others rely on it. Removals themselves are tested with an Orthanc."""

from __future__ import annotations

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.history.removals import Takeback, read_takeback
from fm_pipeline_tests.dicom.history.test_jobs import execute, new_job


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

    def states(job_id: int) -> Takeback:
        with connect(database_url) as connection, connection.cursor() as cursor:
            return read_takeback(cursor, job_id)

    assert states(first) == Takeback(stays=True, found_again_by=[other, again])
    assert states(again) == Takeback(removable=True)
    assert states(other) == Takeback()
    execute(database_url, "UPDATE fm_pipeline.import_history SET removed_at = now() WHERE job_id = %s", first)
    assert states(first) == Takeback()
