from __future__ import annotations

import uuid

import pytest

from fm_pipeline.errors import RequestError
from fm_pipeline.status.plans import newest_plan, plan_of_run, read_plan, report_of_reimport
from fm_pipeline.status.run_steps import count_words, read_run_steps, step_words
from fm_pipeline_tests.support.clinics import MigrationBench, Origin

STEP = """
INSERT INTO fm_pipeline.progress (run_id, step, position, done, total, started_at, updated_at, finished_at)
VALUES (%s, %s, %s, %s, 100, now() - make_interval(secs => %s), now(), CASE WHEN %s THEN now() END)
"""
PLAN = """
INSERT INTO fm_pipeline.plans (id, run_id, requested_by, created_at, phases, inputs, report)
VALUES (gen_random_uuid(), 'before', 'manager', now(), '{}', '{"database": "nexus", "patients": 80}', '{}')
"""


def test_the_time_left_is_measured_by_the_run_before(migrated_once: Origin, bench: MigrationBench) -> None:
    bench.execute(PLAN)
    for position, (name, seconds) in enumerate([("read patients", 40), ("plan, phase 3", 20), ("plan, phase 8", 10)]):
        bench.execute(STEP, "before", name, position, 100, seconds, True)
    bench.execute(STEP, "now", "read patients", 1, 100, 30, True)
    bench.execute(STEP, "now", "plan, phase 3", 2, 50, 10, False)
    found = read_run_steps(bench.database_url, "now", "plan_reimport")
    assert [(step.name, step.done, step.started_at is None) for step in found.steps] == [
        ("read patients", 100, False),
        ("plan, phase 3", 50, False),
        ("plan, phase 8", 0, True),
    ]
    assert found.seconds_left == pytest.approx(20, abs=3)  # as long again for the second half, and the last phase
    bench.execute(STEP, "soon", "read patients", 1, 50, 2, False)
    soon = read_run_steps(bench.database_url, "soon", "plan_reimport")
    assert (soon.steps[0].seconds_left, soon.seconds_left) == (None, None), "two seconds tell nothing"
    first_reimport = read_run_steps(bench.database_url, "other", "full_reimport")
    assert [step.name for step in first_reimport.steps] == ["read patients", "phase 3", "phase 8"]


def test_without_an_earlier_run_nothing_is_estimated(migrated_once: Origin, bench: MigrationBench) -> None:
    bench.execute(STEP, "now", "read patients", 1, 100, 30, True)
    assert read_run_steps(bench.database_url, "now", "plan_reimport").seconds_left is None


def test_a_step_counts_what_it_works_on() -> None:
    said = {
        ("read patients", 40, 1200): "40 of 1,200 records",
        ("plan, phase 3", 1, 1): "1 of 1 row",
        ("phase 7", 2, None): "2 image batches",
        ("backup, write", 3, 12): "3 of 12 tables",
        ("list the bulk dump", 1, None): "1 file",
        ("verify copies", 0, 5): "0 of 5 images",
        ("delete in Orthanc", 7, 7): "7 of 7 instances",
        ("restore", 1, 1): "",
        ("locks and digests", 0, None): "",
    }
    assert {step: count_words(*step) for step in said} == said


def test_a_step_is_named_by_what_it_does_or_would_do_and_not_by_the_number_of_a_phase() -> None:
    said = {
        "plan, phase 2": "Would delete what FileMaker no longer has",
        "plan, phase 8": "Check the result",
        "phase 2": "Delete what FileMaker no longer has",
        "sync, phase 2": "Delete what FileMaker no longer has",
        "sync, locks and digests": "Lock the tables, and compare",
        "stage sms_message": "Check sms message",
        "backup, write": "Backup, write",
    }
    assert {step: step_words(step) for step in said} == said


def test_a_database_that_is_new_to_the_pipeline_has_no_steps_and_no_plan(bench: MigrationBench) -> None:
    url = bench.database_url
    assert read_run_steps(url, "any", "plan_reimport").steps == []
    assert (newest_plan(url), plan_of_run(url, "any"), report_of_reimport(url, "any")) == (None, None, (None, None))
    with pytest.raises(RequestError, match="no plan of that id"):
        read_plan(url, str(uuid.uuid4()))


def test_a_plan_has_the_words_that_permit_it_and_the_run_that_carried_it_out(
    reimported_once: Origin, bench: MigrationBench
) -> None:
    used = newest_plan(bench.database_url)
    assert used is not None
    assert (used.carried_out, used.dagster_run) == (True, None)
    made = bench.plan()
    plan = read_plan(bench.database_url, made.id)
    assert (plan.confirmation, plan.carried_out, plan.requested_by) == (made.confirmation, False, "bench")
    assert plan.report["tables"] == made.report.as_dict()["tables"]
