"""The synthetic clinic: after the reimport its import from containers is as the oracle says."""

from __future__ import annotations

from pathlib import Path

from fm_pipeline.images.containers.import_images import Callbacks, import_images
from fm_pipeline.sandbox.clinic.filemaker.containers import expected_import
from fm_pipeline.sandbox.clinic.generate import generate_clinic
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import migration_bench


def test_the_import_of_a_clinic_gives_the_expected_result(database_url: str, tmp_path: Path, s3: BucketBench) -> None:
    clinic = generate_clinic(scale=0.2, images="bulk")
    with migration_bench(database_url, tmp_path, clinic) as bench:
        bench.extract_and_stage().reimport()  # the patients
        settings = s3.settings(bench.settings)
        report = import_images(settings, callbacks=Callbacks(sleep=lambda _: None))
    expected = expected_import(clinic.truth.images)
    assert (report.stopped, report.count("failed"), report.left) == (None, 0, expected.empty)
    assert report.listed == expected.containers.total() + expected.empty
    assert {name: images for name, images, _ in report.by_container() if images} == expected.containers
    assert sum(report.passed_over().values()) == expected.passed_over > 0
    assert report.reasons("skipped") == {"all_containers_empty": expected.empty}
