"""Of several files of one instance, Orthanc gets the first by name, and not that of the fastest thread."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline_tests.dicom.bench import ImportBench

PAIRS = 4


def twins(folder: Path) -> None:
    """Pairs of one instance with different bytes; the first one of each lies behind a file that is slow to read."""
    for pair in reversed(range(PAIRS)):  # a directory is often listed in the order in which it was filled
        one, other = image(f"twin-{pair}"), image(f"twin-{pair}")
        other.InstanceNumber = 99
        (folder / f"{pair}-3-other.dcm").write_bytes(as_file(other))
        (folder / f"{pair}-2-one.dcm").write_bytes(as_file(one))
        (folder / f"{pair}-1-large.dcm").write_bytes(as_file(image(f"large-{pair}", size=6 << 20)))


@pytest.mark.hard_case(37)
def test_of_two_files_of_one_instance_the_first_by_name_is_stored_whichever_is_read_sooner(
    importing: ImportBench,
) -> None:
    twins(importing.folder)
    job = importing.imported()
    rows = {Path(path).name: row.status for path, row in importing.rows(job.id).items()}
    assert rows == {
        f"{pair}-{name}.dcm": status
        for pair in range(PAIRS)
        for name, status in (("1-large", "imported"), ("2-one", "imported"), ("3-other", "conflict"))
    }


@pytest.mark.hard_case(37)
def test_a_file_that_orthanc_refused_is_bad_in_the_next_job_too_although_another_one_took_its_place(
    importing: ImportBench,
) -> None:
    # Two of pydicom's samples with one SOP Instance UID; Orthanc cannot read the first.
    shutil.copyfile(str(get_testdata_file("SC_rgb_jpeg.dcm")), importing.folder / "1-refused.dcm")
    shutil.copyfile(str(get_testdata_file("SC_rgb_jpeg_dcmd.dcm")), importing.folder / "2-good.dcm")
    first, second = importing.imported(), importing.imported()
    ends = [
        {Path(path).name: (row.status, row.reason) for path, row in importing.rows(job.id).items()}
        for job in (first, second)
    ]
    refused = ("bad", "orthanc_bad_file_format")
    assert ends[0] == {"1-refused.dcm": refused, "2-good.dcm": ("imported", None)}
    assert ends[1] == {"1-refused.dcm": refused, "2-good.dcm": ("already_there", None)}
