"""A tree of everything that a hospital's disk can hold, imported with default settings into a real Orthanc."""

from __future__ import annotations

from collections import Counter

import pytest

from fm_pipeline.dicom.importer.run_job import run_job
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.sandbox.dicom.traps import make_traps
from fm_pipeline_tests.dicom.bench import ImportBench


@pytest.mark.hard_case(34)
def test_to_40_every_storable_file_arrives_and_every_other_has_its_reason(importing: ImportBench) -> None:
    traps = make_traps(importing.folder)
    job = run_job(importing.settings, importing.new_job())
    rows = importing.rows(job.id)
    assert set(rows) == {trap.path for trap in traps}
    ended = {path: (Outcome(row.status), row.reason or "") for path, row in rows.items()}
    wrong = {
        trap.path: ended[trap.path]
        for trap in traps
        if not trap.twin and ended[trap.path] != (trap.outcome, trap.reason)
    }
    assert wrong == {}
    for twin in {trap.twin for trap in traps if trap.twin}:
        twins = [trap for trap in traps if trap.twin == twin]
        found = Counter(ended[trap.path] for trap in twins)
        assert found.pop((Outcome.IMPORTED, "")) == 1, twin
        assert set(found) <= {(trap.outcome, trap.reason) for trap in twins}, twin
    assert importing.outcomes(job.id)["imported"] == importing.instances()
    assert job.status == "completed"
    assert (job.instances_missing, job.instances_differing) == (0, 0)
    assert job.total_files == job.files_processed == len(traps)
