"""What the page of a stale plan explains: what has changed, and by which run."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from fm_pipeline.db.audit import record
from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline.status.plan_page_explanation import InputChange, explain_changes
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench
from fm_pipeline_tests.support.image_runs import record_import


def changes(bench: MigrationBench, plan_id: str) -> dict[str, InputChange]:
    """What has changed since a plan of the bench, by its kind."""
    return {each.change.of: each for each in explain_changes(bench.settings, plan_id, RUN_TIME)}


def add_image(bench: MigrationBench) -> None:
    """Give Nexus an image that FileMaker has and Nexus did not have, as an import does."""
    bench.execute(
        "INSERT INTO images_image SELECT (jsonb_populate_record(i, jsonb_build_object("
        " 'id', gen_random_uuid(), 'filemaker_id', o.filemaker_id))).*"
        " FROM images_image i, (SELECT filemaker_id FROM fm_pipeline.staged_outcomes"
        " WHERE entity = 'image' AND rule = 'file_not_in_nexus' ORDER BY record_id LIMIT 1) o LIMIT 1"
    )


def rename_a_batch(bench: MigrationBench) -> None:
    """Change a batch of images in Nexus."""
    bench.execute(
        "UPDATE images_batch SET name = name || '!' WHERE id = (SELECT min(id::text)::uuid FROM images_batch)"
    )


@pytest.mark.usefixtures("staged_once")
def test_images_that_were_imported_are_not_blamed_on_filemaker(bench: MigrationBench) -> None:
    plan, run_id, dry_run = bench.plan(), str(uuid.uuid4()), str(uuid.uuid4())
    add_image(bench)
    record_import(bench, run_id, "done")
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
    plan, some, restored, nothing = bench.plan(), *(str(uuid.uuid4()) for _ in range(3))
    bench.execute("UPDATE notes SET content = content || '!' WHERE id = (SELECT min(id::text)::uuid FROM notes)")
    record_import(bench, some, "failed")
    assert changes(bench, plan.id)["nexus"].runs == [], "an import of images writes no notes"
    rename_a_batch(bench)
    store_run_report(bench.database_url, restored, "restore", {"changed_rows": 1})
    store_run_report(bench.database_url, nothing, "restore", {"changed_rows": 0})
    store_run_report(bench.database_url, str(uuid.uuid4()), "restore", {}, dry_run=True)
    nexus = changes(bench, plan.id)["nexus"]
    assert nexus.change.tables == ("images_batch", "notes")
    assert [(run.kind, run.run_id) for run in nexus.runs] == [("restore", restored), ("image_import", some)]


@pytest.mark.usefixtures("staged_once")
def test_an_import_that_was_killed_is_named_and_one_that_only_marks_is_not(bench: MigrationBench) -> None:
    plan, before, killed, marking, dead = bench.plan(), *(str(uuid.uuid4()) for _ in range(4))
    rename_a_batch(bench)
    record_import(bench, before, "done", at=RUN_TIME - timedelta(hours=1))
    record_import(bench, killed, None)
    record_import(bench, marking, "done", writes=False)
    record_import(bench, dead, None, writes=False)
    assert [(run.kind, run.run_id) for run in changes(bench, plan.id)["nexus"].runs] == [("image_import", killed)]


@pytest.mark.usefixtures("staged_once")
def test_a_link_is_named_if_it_has_linked_repaired_or_made_batches(bench: MigrationBench) -> None:
    plan, repaired, created, nothing, copying, killed = bench.plan(), *(str(uuid.uuid4()) for _ in range(5))
    rename_a_batch(bench)
    zeros = {"linked": 0, "repaired": 0, "batches_created": 0}
    for run_id, report in (
        (repaired, zeros | {"repaired": 2}),
        (created, zeros | {"batches_created": 1}),
        (nothing, zeros),
    ):
        for outcome in ("started", "done"):
            record(bench.database_url, actor="admin", action="image_link", outcome=outcome, run_id=run_id)
        store_run_report(bench.database_url, run_id, "image_link", report)
    store_run_report(bench.database_url, nothing, "image_link", zeros | {"linked": 3}, dry_run=True)
    for outcome in ("started", "failed"):
        record(bench.database_url, actor="admin", action="image_link", outcome=outcome, run_id=copying)  # type: ignore[arg-type]
    record(bench.database_url, actor="admin", action="image_link", outcome="started", run_id=killed)
    bench.execute(
        "INSERT INTO fm_pipeline.image_copies (recid, patient_key, batch_id, source_key, source_size, source_etag,"
        " target_key, state, image_id, planned_at, verified_at, linked_at)"
        " VALUES (1, 'k', gen_random_uuid(), 's', 1, 'e', 't', 'linked', gen_random_uuid(), now(), now(),"
        " clock_timestamp())"
    )
    named = [(run.kind, run.run_id) for run in changes(bench, plan.id)["nexus"].runs]
    assert named == [("image_link", run_id) for run_id in (killed, created, repaired)]


@pytest.mark.usefixtures("staged_once")
def test_a_plan_that_another_reimport_has_made_stale_does_not_blame_filemaker(bench: MigrationBench) -> None:
    older = bench.plan()
    bench.reimport(RUN_TIME + timedelta(hours=1), run_id="the other run")
    found = changes(bench, older.id)
    assert found["links"].change.words.startswith("the links of FileMaker's records to rows of Nexus changed")
    assert [(run.kind, run.run_id) for run in found["links"].runs] == [("reimport", "the other run")]
    assert "filemaker" not in found
