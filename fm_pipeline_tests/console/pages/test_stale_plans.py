"""The page of a stale plan: what has changed, by which run, and what becomes of a confirmation that comes too late."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime

import requests
from django_htmx.http import HTMX_STOP_POLLING

from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch, send
from fm_pipeline_tests.console.pages.test_data_management import added_runs, get
from fm_pipeline_tests.support.image_runs import record_import
from fm_pipeline_tests.support.waiting import wait_until

PAGE = "/settings/data-management"
COMPARISONS = """
SELECT count(*) FROM pg_locks l WHERE NOT l.granted AND l.relation = 'notes'::regclass
"""
SIGNED = dict.fromkeys(("data", "tested", "told"), "yes")


def stale_part(console: Console, session: requests.Session, plan: str) -> str:
    """What the page of a plan says of its being stale; without tags, each blank once."""
    section = fetch(console, session, plan).partition('aria-labelledby="stale"')[2].partition("</section>")[0]
    return " ".join(re.sub("<[^>]+>", "", section).split())


def test_a_stale_plan_says_what_has_changed_and_when_and_offers_a_new_dry_run(console: Console) -> None:
    admin, viewer = console.session("admin"), console.session("reception")
    made = console.bench.plan(now=datetime.now(UTC))
    plan = f"{PAGE}/plans/{made.id}"
    assert 'name="confirm"' in fetch(console, admin, plan)
    assert "#confirmation" in fetch(console, admin, PAGE)
    ((note_id, before),) = console.bench.execute("SELECT id::text, updated_at::text FROM notes ORDER BY id LIMIT 1")
    written = "UPDATE notes SET updated_at = %s WHERE id::text = %s"
    console.bench.execute(written, "2031-02-03 01:00+00", note_id)
    try:
        stale = fetch(console, admin, plan)
        assert "This plan is stale" in stale
        said = stale_part(console, admin, plan)
        assert "Rows of Nexus: Notes. The newest change on record is of 2031-02-03" in said
        assert "No run on record has done it" in said
        assert "New dry run" in stale
        assert 'name="confirm"' not in stale
        assert "needs a new dry run" in fetch(console, admin, PAGE)
        assert "#confirmation" not in fetch(console, admin, PAGE)
        assert "An administrator starts a new dry run." in fetch(console, viewer, plan)
    finally:
        console.bench.execute(written, before, note_id)
    console.bench.execute("UPDATE fm_pipeline.staged_notes SET content = content || '!'")
    console.bench.execute("UPDATE fm_pipeline.source_extractions SET finished_at = clock_timestamp()")
    try:
        assert "FileMaker's data: Notes. FileMaker was read again 20" in stale_part(console, viewer, plan)
    finally:
        console.bench.execute("UPDATE fm_pipeline.staged_notes SET content = left(content, -1)")
    assert "This plan is stale" not in fetch(console, admin, plan)


def test_a_stale_plan_does_not_say_in_green_that_nothing_would_be_lost(console: Console) -> None:
    admin, made = console.session("admin"), console.bench.plan(now=datetime.now(UTC))
    plan = f"{PAGE}/plans/{made.id}"
    nothing = '{"losses": ["No row would be deleted, and none would lose a value."]}'
    console.bench.execute("UPDATE fm_pipeline.plans SET report = report || %s WHERE id = %s", nothing, str(made.id))
    assert "Nothing would be lost</h2>" in fetch(console, admin, plan)
    console.bench.execute("UPDATE fm_pipeline.staged_notes SET content = content || '!'")
    try:
        page = fetch(console, admin, plan)
    finally:
        console.bench.execute("UPDATE fm_pipeline.staged_notes SET content = left(content, -1)")
    assert "Nothing would be lost" not in page
    assert '<section class="note" aria-labelledby="losses">' in page
    assert "What would have been lost when the plan was made" in page
    assert page.index("This plan is stale") < page.index('id="losses"')


def test_images_that_were_imported_are_named_with_their_run(console: Console) -> None:
    admin, made, run_id = console.session("admin"), console.bench.plan(now=datetime.now(UTC)), str(uuid.uuid4())
    plan = f"{PAGE}/plans/{made.id}"
    added = "INSERT INTO fm_pipeline.staged_file_links VALUES ('image', gen_random_uuid(), 0, 'none')"
    console.bench.execute(added)
    record_import(console.bench, run_id, "done")
    try:
        said, page = stale_part(console, admin, plan), fetch(console, admin, plan)
    finally:
        console.bench.execute("DELETE FROM fm_pipeline.staged_file_links WHERE patient_key = 'none'")
    assert "file_links" not in page
    assert "Which of FileMaker's documents and images Nexus has" in said
    assert "in FileMaker, nothing need have changed" in said
    assert f'<a class="nowrap" href="{PAGE}/runs/{run_id}">Run {run_id[:8]}</a>' in page
    assert re.search(rf"written to Nexus since then: Image import of 20[-0-9: ]+: Run {run_id[:8]}", said)


def test_a_confirmation_that_comes_too_late_is_refused_in_one_place(console: Console) -> None:
    admin, made = console.session("admin"), console.bench.plan(now=datetime.now(UTC))
    plan = f"{PAGE}/plans/{made.id}"
    console.bench.execute("UPDATE notes SET content = content || '!'")
    try:
        late = send(console, admin, f"{plan}/reimport", 409, confirm=made.confirmation, **SIGNED).text
    finally:
        console.bench.execute("UPDATE notes SET content = left(content, -1)")
    assert late.count('role="alert" tabindex="-1" autofocus') == 1
    assert 'autofocus><h2 id="stale">This plan is stale: it was not carried out</h2>' in late
    assert "Nothing was started, and Nexus was not changed." in late
    assert "The plan is stale" not in late, "the same in the words of the pipeline"
    assert late.count("Rows of Nexus") == 1


def test_a_plan_that_was_carried_out_is_refused_without_advice_for_commands(console: Console) -> None:
    admin = console.session("admin")
    ((plan_id,),) = console.bench.execute("SELECT plan_id::text FROM fm_pipeline.reimports LIMIT 1")
    late = send(console, admin, f"{PAGE}/plans/{plan_id}/reimport", 409, confirm="any", **SIGNED).text
    assert re.search(r"autofocus><strong>Nothing was started.</strong>\s+This plan has been carried out", late)
    assert late.count("been carried out") == 1, "the page also asks with a hidden word for what has become of the plan"
    assert "fm-pipeline plan" not in late


def test_open_pages_of_two_plans_share_one_comparison_each_however_long_it_takes(console: Console) -> None:
    admin, bench = console.session("admin"), console.bench
    states = [f"/plans/{bench.plan(now=datetime.now(UTC)).id}/state?standing=valid&runs=" for _ in range(2)]
    plan = states[1].partition("/state")[0]
    with bench.connection() as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
        answers = [get(console, admin, state).status_code for state in states * 3]
        assert (set(answers), bench.execute(COMPARISONS)) == ({204}, [(2,)])
    wait_until(lambda: bench.execute(COMPARISONS) == [(0,)])
    # It took more than a second, so that its answer is kept; a page that is opened compares anew.
    wait_until(lambda: get(console, admin, states[1]).status_code == 204)
    bench.execute("UPDATE notes SET content = content || '!'")
    try:
        assert "This plan is stale" in get(console, admin, plan).text
        wait_until(lambda: get(console, admin, states[1]).headers.get("HX-Redirect") == f"{PAGE}{plan}")
    finally:
        bench.execute("UPDATE notes SET content = left(content, -1)")
    assert 'name="standing" value="valid"' in get(console, admin, plan).text
    assert "HX-Redirect" not in get(console, admin, states[1]).headers


def test_the_page_of_a_stale_plan_keeps_its_standing_while_a_run_works_and_then_asks_no_more(console: Console) -> None:
    admin, made = console.session("admin"), console.bench.plan(now=datetime.now(UTC))
    plan, asks = f"/plans/{made.id}", f'hx-get="{PAGE}/plans/{made.id}/state"'
    assert asks in get(console, admin, plan).text
    console.bench.execute("UPDATE notes SET content = content || '!'")
    try:
        assert asks not in get(console, admin, plan).text
        with added_runs(console) as add:
            run_id = add("plan_reimport")
            works = get(console, admin, f"{plan}/state?standing=stale&runs=")
            assert 'name="standing" value="stale"' in works.text
            assert "Look at its progress" in works.text
            same = get(console, admin, f"{plan}/state?standing=stale&runs={run_id}:queued")
        ended = get(console, admin, f"{plan}/state?standing=stale&runs={run_id}:queued")
    finally:
        console.bench.execute("UPDATE notes SET content = left(content, -1)")
    assert [each.status_code for each in (works, same, ended)] == [200, 204, HTMX_STOP_POLLING]
    assert ["carry-out" in each.text for each in (works, ended)] == [False, False]
    assert ["HX-Redirect" in each.headers for each in (works, ended)] == [False, False]
