"""Counts of images, by year and category, which name nothing that only few patients have."""

from __future__ import annotations

from fm_pipeline.images.nexus.statistics import NO_CATEGORY, RARE, UNDATED, ImageStatistics, read_statistics
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline_tests.support.clinics import MigrationBench

CANARY = "Zephyrine Quollthorpe, left foot"


def statistics(bench: MigrationBench) -> ImageStatistics:
    with bench.connection() as connection, connection.cursor() as cursor:
        return read_statistics(cursor, read_catalogue(cursor, "public"))


def test_every_image_is_counted_once_in_each_picture(bench: MigrationBench) -> None:
    bench.execute("UPDATE images_image SET date_taken = NULL WHERE id = (SELECT min(id::text)::uuid FROM images_image)")
    found = statistics(bench)
    ((images,),) = bench.execute("SELECT count(*) FROM images_image")
    assert found.images == images == sum(found.by_year.values()) == sum(found.by_category.values())
    assert found.by_year[UNDATED] == 1
    assert list(found.by_year) == sorted(found.by_year)
    ((batches, patients),) = bench.execute("SELECT count(*), count(DISTINCT object_id) FROM images_batch")
    assert (found.batches, found.patients) == (batches, patients)


def test_a_category_that_few_patients_have_is_not_named(bench: MigrationBench) -> None:
    bench.execute("UPDATE images_image SET category = ' Gait '")
    ((batch,),) = bench.execute("SELECT id::text FROM images_batch ORDER BY image_count DESC LIMIT 1")
    changed = bench.execute(
        "UPDATE images_image SET category = %s WHERE batch_id = %s RETURNING id::text", CANARY, batch
    )
    bench.execute("UPDATE images_image SET category = '' WHERE id = %s", *changed[0])
    found = statistics(bench)
    rest = found.images - len(changed)
    assert found.by_category == {"Gait": rest, NO_CATEGORY: 1, RARE: len(changed) - 1} or len(changed) == 1
    assert list(found.by_category)[-1] in {RARE, NO_CATEGORY}


def test_an_empty_category_and_none_are_counted_together(bench: MigrationBench) -> None:
    bench.execute("ALTER TABLE images_image ALTER COLUMN category DROP NOT NULL")
    bench.execute("UPDATE images_image SET category = ''")
    bench.execute("UPDATE images_image SET category = NULL WHERE id = (SELECT min(id::text)::uuid FROM images_image)")
    found = statistics(bench)
    assert found.by_category == {NO_CATEGORY: found.images}


def test_a_release_with_other_columns_is_counted_as_well(bench: MigrationBench) -> None:
    bench.execute("ALTER TABLE images_image DROP COLUMN date_taken, DROP COLUMN category")
    found = statistics(bench)
    assert found.images
    assert (found.by_year, found.by_category) == ({}, {})
    bench.execute("ALTER TABLE images_image ADD COLUMN captured_date date DEFAULT '2020-02-02'")
    assert statistics(bench).by_year == {"2020": found.images}
