"""Series, broken files and the demo's hospital."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path

import pydicom

from fm_pipeline.dicom.files.is_dicom import inspect
from fm_pipeline.dicom.model import Instance
from fm_pipeline.sandbox.dicom.broken import broken_files
from fm_pipeline.sandbox.dicom.hospital import make_hospital
from fm_pipeline.sandbox.dicom.series import series, write_series


def test_a_series_has_as_many_instances_as_files_and_one_series_uid(tmp_path: Path) -> None:
    paths = write_series(tmp_path, 12, 20_000, patient_id="P")
    datasets = [pydicom.dcmread(path) for path in paths]
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 12
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 1
    assert all(dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID for dataset in datasets)
    assert all(abs(path.stat().st_size - 20_000) < 1_000 for path in paths)
    assert datasets[3].pixel_array.shape == (datasets[3].Rows, datasets[3].Columns)


def test_a_series_is_the_same_every_time() -> None:
    assert list(series(3, 5_000)) == list(series(3, 5_000))


def test_broken_files_are_the_same_every_time_and_no_inspection_fails_on_them() -> None:
    broken = list(broken_files(200))
    assert broken == list(broken_files(200))
    verdicts = [inspect(io.BytesIO(content), len(content)) for _, content in broken]
    reasons = {verdict.reason for verdict in verdicts if not isinstance(verdict, Instance)}
    assert len(reasons) >= 10


def test_the_demo_has_files_of_many_kinds(tmp_path: Path) -> None:
    assert make_hospital(tmp_path) == sum(1 for path in tmp_path.rglob("*") if path.is_file()) > 200
    found = [inspect(io.BytesIO(p.read_bytes()), p.stat().st_size) for p in tmp_path.rglob("*") if p.is_file()]
    instances = [one for one in found if isinstance(one, Instance)]
    assert len({one.transfer_syntax for one in instances}) >= 8
    assert {"CT", "MR", "RTPLAN", "SR", "ECG"} <= {one.modality for one in instances}


def test_broken_files_can_be_had_in_any_number() -> None:
    assert len(list(islice(broken_files(7, seed=1), 10))) == 7
