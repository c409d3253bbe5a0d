"""A Patient ID with several names that somebody has confirmed to be of one person."""

from __future__ import annotations

from pathlib import Path

import pytest

from fm_pipeline.dicom.api.requests import one_person
from fm_pipeline.errors import RequestError
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline_tests.dicom.bench import ImportBench

ANOTHER = ["patient_id_with_another_name"]


def test_confirmed_names_are_not_flagged_again_and_a_further_one_is(importing: ImportBench) -> None:
    def put(name: str, person: str, birth_date: str = "19700101") -> None:
        file = image(name, patient_name=person, birth_date=birth_date, study=person)
        importing.put(name, as_file(file))

    put("1.dcm", "Wrong^Name")
    put("2.dcm", "Right^Name")
    flagged = [row for row in importing.rows(importing.imported().id).values() if row.flags == ANOTHER]
    assert flagged
    with pytest.raises(RequestError, match="no row 0"):
        one_person(importing.settings, 0, persons=2, actor="test")
    assert one_person(importing.settings, flagged[0].id, persons=None, actor="test").persons == 2
    assert importing.rows(flagged[0].job_id)[flagged[0].file_path].flags == ANOTHER
    assert one_person(importing.settings, flagged[0].id, persons=2, actor="test").rows == len(flagged)
    assert not any(row.flags for row in importing.rows(flagged[0].job_id).values())
    put("3.dcm", "Wrong^Name", "")
    again = importing.imported("manual")
    put("4.dcm", "Further^Name")
    put("5.dcm", "Right^Name", "19991231")
    later = importing.imported("incremental")
    flags = {Path(path).name: row.flags for job in (again, later) for path, row in importing.rows(job.id).items()}
    assert flags == {"1.dcm": [], "2.dcm": [], "3.dcm": [], "4.dcm": ANOTHER, "5.dcm": ANOTHER}
