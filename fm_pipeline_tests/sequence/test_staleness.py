"""What is said of a stale plan: what has changed, and by which run."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from fm_pipeline.db.audit import record
from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline.sequence.staleness import InputChange, changes_since_plan
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench


def changes(bench: MigrationBench, plan_id: str) -> dict[str, InputChange]:
    """What has changed since a plan of the bench, by its kind."""
    return {each.change.of: each for each in changes_since_plan(bench.settings, plan_id, RUN_TIME)}


def add_image(bench: MigrationBench) -> None:
    """Give Nexus an image that FileMaker has and Nexus did not have, as an import does."""
    bench.execute(
        "INSERT INTO images_image SELECT (jsonb_populate_record(i, jsonb_build_object("
        " 'id', gen_random_uuid(), 'filemaker_id', o.filemaker_id))).*"
        " FROM images_image i, (SELECT filemaker_id FROM fm_pipeline.staged_outcomes"
        " WHERE entity = 'image' AND rule = 'file_not_in_nexus' ORDER BY record_id LIMIT 1) o LIMIT 1"
    )


@pytest.mark.usefixtures("staged_once")
def test_images_that_were_imported_are_not_blamed_on_filemaker(bench: MigrationBench) -> None:
    plan, run_id, dry_run = bench.plan(), str(uuid.uuid4()), str(uuid.uuid4())
    add_image(bench)
    record(bench.database_url, actor="admin", action="image_import", outcome="done", run_id=run_id)
    bench.extract_and_stage()
    found = changes(bench, plan.id)
    assert list(found) == ["links", "files"]
    files = found["files"]
    assert "as after an import of images" in files.change.words
    assert [(run.kind, run.run_id) for run in files.runs] == [("image_import", run_id)]
    assert files.at is not None
    assert files.read_by is None, "a command has read FileMaker"
    bench.execute("UPDATE fm_pipeline.source_extractions SET run_id = %s", dry_run)
    assert changes(bench, plan.id)["files"].read_by == dry_run


@pytest.mark.usefixtures("staged_once")
def test_a_run_is_named_only_for_what_it_writes(bench: MigrationBench) -> None:
    plan, nothing, some, restored = bench.plan(), *(str(uuid.uuid4()) for _ in range(3))
    bench.execute("UPDATE notes SET content = content || '!' WHERE id = (SELECT min(id::text)::uuid FROM notes)")
    for run_id, imported in ((nothing, 0), (some, 2)):
        record(bench.database_url, actor="admin", action="image_import", outcome="failed", run_id=run_id)
        report = {"outcomes": {"imported": imported}}
        store_run_report(bench.database_url, run_id, "image_import", report)
    assert changes(bench, plan.id)["nexus"].runs == [], "an import of images writes no notes"
    bench.execute(
        "UPDATE images_batch SET name = name || '!' WHERE id = (SELECT min(id::text)::uuid FROM images_batch)"
    )
    store_run_report(bench.database_url, restored, "restore", {"changed_rows": 1})
    store_run_report(bench.database_url, str(uuid.uuid4()), "restore", {}, dry_run=True)
    nexus = changes(bench, plan.id)["nexus"]
    assert nexus.change.tables == ("images_batch", "notes")
    assert [(run.kind, run.run_id) for run in nexus.runs] == [("restore", restored), ("image_import", some)]


@pytest.mark.usefixtures("staged_once")
def test_a_plan_that_another_reimport_has_made_stale_does_not_blame_filemaker(bench: MigrationBench) -> None:
    older = bench.plan()
    bench.reimport(RUN_TIME + timedelta(hours=1), run_id="the other run")
    found = changes(bench, older.id)
    assert found["links"].change.words.startswith("the links of FileMaker's records to rows of Nexus changed")
    assert [(run.kind, run.run_id) for run in found["links"].runs] == [("reimport", "the other run")]
    assert "filemaker" not in found
