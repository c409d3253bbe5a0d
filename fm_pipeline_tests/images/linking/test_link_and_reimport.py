"""The whole way of images: a reimport, the link of the bulk dump, an earlier reimport's damage, another reimport."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fm_pipeline.db.migrate import migrate
from fm_pipeline.images.exports.reader import read_export
from fm_pipeline.images.linking.link_images import link_images
from fm_pipeline.images.linking.report import LinkReport
from fm_pipeline.images.linking.steps import LinkOptions
from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic
from fm_pipeline.sandbox.demo.clinic import ComparisonResult
from fm_pipeline.sandbox.demo.linked_images import LinkedImages
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import RUN_TIME, SCALE, MigrationBench, migration_bench
from fm_pipeline_tests.support.services import LazyStack

LATER = RUN_TIME + dt.timedelta(days=1)


class Images:
    """A clinic whose images lie in the bulk dump, both systems, and a bucket."""

    def __init__(self, clinic: Clinic, bench: MigrationBench, s3: BucketBench, server_folder: Path) -> None:
        assert clinic.bulk_dump
        self.bench = replace(bench, settings=s3.settings(bench.settings))
        self.s3 = s3
        for key, content in clinic.bulk_dump.objects():
            s3.put(key, content)
        self.export = bench.settings.state_dir.parent / "Image_DataV6.tab"
        self.export.write_bytes(clinic.bulk_dump.export())
        self.oracle = LinkedImages(clinic, bench.database_url, server_folder / s3.name)

    def link(self) -> LinkReport:
        """The whole link."""
        settings = self.bench.settings
        migrate(self.bench.database_url)
        bucket, export = self.s3.bucket(settings), read_export(self.export)
        return link_images(settings, bucket, export, LinkOptions(), actor="bench", now=lambda: LATER, warn=pytest.fail)

    def ends(self) -> dict[str, int]:
        """How many records of the export ended how: by outcome, those that are not linked by reason."""
        return dict(
            self.bench.execute("SELECT coalesce(reason, outcome), count(*) FROM fm_pipeline.image_metadata GROUP BY 1")
        )


@pytest.fixture
def images(database_url: str, tmp_path: Path, stack: LazyStack) -> Iterator[Images]:
    clinic = generate_clinic(scale=SCALE, images="bulk")
    with migration_bench(database_url, tmp_path, clinic) as bench:
        yield Images(clinic, bench, BucketBench(stack.s3), stack.s3.folder)


def wrong(results: list[ComparisonResult]) -> list[ComparisonResult]:
    return [result for result in results if not result.holds]


def test_the_link_gives_the_expected_result_and_a_later_reimport_repairs_orphaned_batches(
    images: Images,
) -> None:
    bench = images.bench
    bench.extract_and_stage().reimport()
    images.link()
    assert wrong(images.oracle.judge()) == []
    after_link = images.oracle.state()

    orphaned = images.oracle.orphan()
    assert orphaned > 0
    assert images.oracle.state() != after_link
    report = bench.extract_and_stage().reimport(LATER)
    assert report.batches
    assert report.batches.by_evidence == {"image_link": orphaned}
    assert report.changed_rows == orphaned
    assert images.oracle.state() == after_link
    sources = {source.entity: source for source in report.sources}
    assert sources["image"].loaded == len(images.oracle.expected.images)

    images.link()  # once more: everything is there
    assert images.oracle.state() == after_link


def test_images_of_patients_who_are_not_in_nexus_yet_are_linked_after_the_reimport_that_brings_them(
    images: Images,
) -> None:
    images.link()
    first = images.ends()
    assert first["patient_unknown"] > 1  # a stranger, and the patients who are new in FileMaker
    images.bench.extract_and_stage().reimport()
    images.link()
    second = images.ends()
    assert second["patient_unknown"] == 1
    assert second["already_linked"] == first["linked"]
    assert second["linked"] > 0
    assert second["linked"] + second["already_linked"] == len(images.oracle.expected.images)
