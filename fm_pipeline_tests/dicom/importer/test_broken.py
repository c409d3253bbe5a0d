"""Files that are broken or no DICOM at all, made from valid ones with a fixed seed: none stops a job."""

from __future__ import annotations

from fm_pipeline.dicom import reasons
from fm_pipeline.sandbox.dicom.broken import broken_files
from fm_pipeline_tests.dicom.bench import ImportBench

COUNT = 200


def test_two_hundred_broken_files_stop_nothing_and_each_has_its_reason(importing: ImportBench) -> None:
    for name, content in broken_files(COUNT):
        (importing.folder / name).write_bytes(content)
    job = importing.imported()
    assert (job.status, job.files_processed) == ("completed", COUNT)
    rows = importing.rows(job.id)
    without = [row for row in rows.values() if row.reason is None]
    assert {row.status for row in without} <= {"imported", "already_there"}
    tables = (reasons.SKIPPED, reasons.BAD, reasons.REFUSED, reasons.REPEATED, reasons.SUSPECT)
    known = {reason for table in tables for reason in table}
    assert {row.reason for row in rows.values() if row.reason} <= known | {"id_uncertain"}
    assert importing.instances() == job.files_imported
    assert job.files_failed == sum(row.reason == "id_uncertain" for row in rows.values())
