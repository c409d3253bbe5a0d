"""Files that are missing in S3 are a warning on the asset; they stop no run."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from fm_pipeline.definitions import build_defs
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.services import LazyStack

CHECKS = ("documents_exist", "images_exist")


@pytest.fixture
def s3(stack: LazyStack) -> BucketBench:
    return BucketBench(stack.s3)


def evaluations(bench: MigrationBench) -> dict[str, Any]:
    """Run both checks, as somebody does with "Execute all" on the page of the asset."""
    defs = build_defs(read_settings=lambda: bench.settings)
    asset_keys = [
        dg.AssetCheckKey(dg.AssetKey(asset), name)
        for asset, name in zip(("documents", "image_batches"), CHECKS, strict=True)
    ]
    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.define_asset_job("look", dg.AssetSelection.checks(*asset_keys))
        both = dg.Definitions(assets=defs.assets, asset_checks=defs.asset_checks, jobs=[job], resources=defs.resources)
        result = both.resolve_job_def("look").execute_in_process(instance=instance, raise_on_error=False)
    assert result.success
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def test_without_a_bucket_nothing_is_looked_for(bench: MigrationBench) -> None:
    found = evaluations(bench)
    assert found.keys() == set(CHECKS)
    assert all(check.passed for check in found.values())
    assert "S3_BUCKET is not set" in str(found["images_exist"].description)


def test_what_is_missing_warns_with_ids_and_without_keys(bench: MigrationBench, s3: BucketBench) -> None:
    bench.execute("UPDATE documents_document SET s3_bucket = '', file_size = 4")
    bench.execute("UPDATE images_image SET file_size = 4, thumbnail_size = 4")
    rows = bench.execute("SELECT id::text, s3_key FROM images_image ORDER BY id")
    for (key,) in bench.execute(
        "SELECT s3_key FROM documents_document UNION ALL SELECT s3_thumbnail_key FROM images_image"
    ):
        s3.put(key, b"file")
    for _, key in rows[1:]:
        s3.put(key, b"file")
    found = evaluations(bench.with_settings(**s3.settings(bench.settings).model_dump(exclude_unset=True)))
    documents, images = found["documents_exist"], found["images_exist"]
    assert documents.passed
    assert (images.passed, images.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert images.metadata["missing"].value == 1
    assert images.metadata["missing_rows"].value == {"images": [rows[0][0]]}
    assert rows[0][1] not in str(images)


def test_an_s3_that_does_not_answer_warns(bench: MigrationBench, s3: BucketBench) -> None:
    settings = s3.settings(bench.settings).model_dump(exclude_unset=True) | {"aws_access_key_id": "nobody"}
    found = evaluations(bench.with_settings(**settings))
    assert not any(check.passed for check in found.values())
    assert {check.severity for check in found.values()} == {dg.AssetCheckSeverity.WARN}
