"""The history of plans and runs, and their reports."""

from __future__ import annotations

import json
import re
import uuid

import dagster as dg

from fm_pipeline.db.audit import record
from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch


def test_a_viewer_reads_the_history_and_the_report_of_each_run(console: Console) -> None:
    viewer = console.session("reception")
    for table, word in (("plans", "a plan changes nothing"), ("reimports", "committed")):
        ((identifier,),) = console.bench.execute(f"SELECT id::text FROM fm_pipeline.{table} LIMIT 1")  # noqa: S608
        path = f"/settings/history/{table}/{identifier}"
        assert path in fetch(console, viewer, "/settings/history/?since=2000-01-01")
        page = fetch(console, viewer, path)
        assert (word in page, "Phase " in page) == (True, False)
        assert '<th scope="row">Check the result</th>' in page
        assert page.count('<rect class="bar"') == page.count("<text") / 2 > 0
    history = fetch(console, viewer, "/settings/history/?kind=plan&outcome=done&since=2000-01-01")
    (row, *_) = re.findall(r"<tr>\n(.*?)</tr>", history, re.DOTALL)
    assert ("<td>reimport (dry run)</td>" in row, '<td class="number">none</td>' in row) == (True, True)
    assert "Nothing." in fetch(console, viewer, "/settings/history/?actor=nobody")
    assert "started, no end yet" not in fetch(console, viewer, "/settings/history/?kind=plan&outcome=done&since=x")
    for path in (f"plans/{uuid.uuid4()}", f"reimports/{uuid.uuid4()}", "runs/none", "runs/%00"):
        fetch(console, viewer, f"/settings/history/{path}", 404)


def test_a_reimport_has_the_same_time_on_every_page(console: Console) -> None:
    viewer = console.session("reception")
    ((identifier, plan_id),) = console.bench.execute(
        "SELECT id::text, plan_id::text FROM fm_pipeline.reimports ORDER BY started_at LIMIT 1"
    )
    report = fetch(console, viewer, f"/settings/history/reimports/{identifier}")
    found = re.search(r"<dt>Changed Nexus</dt><dd>([-0-9]{10} [:0-9]{8})</dd>", report)
    assert found
    assert f"<h1>Reimport of {found[1]}</h1>" in report
    plan = fetch(console, viewer, f"/settings/data-management/plans/{plan_id}")
    assert f"carried out, and changed Nexus {found[1]}" in plan
    assert found[1] in fetch(console, viewer, "/settings/history/?kind=reimport&since=2000-01-01")


def test_a_reimport_that_changed_no_row_is_nowhere_said_to_have_changed_nexus(console: Console) -> None:
    bench, viewer = console.bench, console.session("reception")
    ((reimport, plan, reimport_rows, plan_rows),) = bench.execute(
        "SELECT r.id::text, p.id::text, r.report ->> 'changed_rows', p.report ->> 'changed_rows'"
        " FROM fm_pipeline.reimports r JOIN fm_pipeline.plans p ON p.id = r.plan_id ORDER BY r.started_at LIMIT 1"
    )
    written = "UPDATE fm_pipeline.{} SET report = jsonb_set(report, '{{changed_rows}}', %s::jsonb) WHERE id::text = %s"
    pages = (f"history/reimports/{reimport}", f"data-management/plans/{plan}")
    bench.execute(written.format("reimports"), "0", reimport)
    bench.execute(written.format("plans"), "0", plan)
    try:
        shown = [fetch(console, viewer, f"/settings/{page}") for page in pages]
    finally:
        bench.execute(written.format("reimports"), reimport_rows, reimport)
        bench.execute(written.format("plans"), plan_rows, plan)
    assert ["changed nexus 20" in page.lower() or "<dt>Changed Nexus</dt>" in page for page in shown] == [False] * 2
    assert ["and changed no row of Nexus" in page for page in shown] == [True] * 2


def test_the_report_of_a_plan_says_what_its_steps_would_do(console: Console) -> None:
    viewer = console.session("reception")
    for table, words in (("plans", "Would delete what FileMaker"), ("reimports", "Delete what FileMaker")):
        ((identifier,),) = console.bench.execute(f"SELECT id::text FROM fm_pipeline.{table} LIMIT 1")  # noqa: S608
        page = fetch(console, viewer, f"/settings/history/{table}/{identifier}")
        assert f'<th scope="row">{words} no longer has</th>' in page


def test_a_restore_that_found_every_row_as_in_the_backup_says_so_in_one_sentence(console: Console) -> None:
    for committed, words in (
        (False, "No row would change: Nexus has what the backup holds."),
        (True, "Done in 0.5 s: no row changed, because Nexus had what the backup holds."),
    ):
        run_id = f"command-{uuid.uuid4()}"
        report = {"dry_run": not committed, "committed": committed, "changed_rows": 0, "tables": [], "notes": []}
        store_run_report(console.bench.database_url, run_id, "restore", report | {"seconds": 0.5})
        page = fetch(console, console.session("reception"), f"/settings/history/runs/{run_id}")
        assert words in page
        assert "Brought back" not in page


def test_a_plan_of_the_first_release_is_shown_with_what_would_be_lost(console: Console) -> None:
    plan = str(uuid.uuid4())
    since_then = ["losses", "stays", "restore", "accepted", "patients_by"]
    console.bench.execute(
        "INSERT INTO fm_pipeline.plans (id, requested_by, created_at, inputs, phases, report)"
        " SELECT %s, requested_by, '2025-11-26', inputs, phases,"
        "  report - %s::text[] #- '{documents,archived}' #- '{documents,detached}' #- '{checks,0,remedy}'"
        " FROM fm_pipeline.plans LIMIT 1",
        plan,
        since_then,
    )
    try:
        admin = console.session("admin")
        for page in ("history", "data-management"):
            assert "would be deleted" in fetch(console, admin, f"/settings/{page}/plans/{plan}")
    finally:
        console.bench.execute("DELETE FROM fm_pipeline.plans WHERE id = %s", plan)


def test_files_of_deleted_patients_are_told_in_the_tense_of_the_report(console: Console) -> None:
    admin = console.session("admin")
    documents = {"total": 2, "already": 0, "relinked": 0, "archived": ["first"], "archive_patient": "1"}
    written_over = json.dumps({"documents": documents | {"detached": ["second"]}})
    for table, told in (
        ("plans", ("would be deleted, and they would go to the archive patient", "they would lose theirs")),
        ("reimports", ("was deleted, and they went to the archive patient", "they lost theirs")),
    ):
        ((stored, identifier),) = console.bench.execute(
            f"SELECT report::text, id::text FROM fm_pipeline.{table} ORDER BY id LIMIT 1"  # noqa: S608
        )
        written = f"UPDATE fm_pipeline.{table} SET report = %s::jsonb || %s::jsonb WHERE id = %s"  # noqa: S608
        console.bench.execute(written, stored, written_over, identifier)
        try:
            page = fetch(console, admin, f"/settings/history/{table}/{identifier}")
        finally:
            console.bench.execute(written, stored, "{}", identifier)
        assert all(words in page for words in told)


def test_the_results_of_image_runs_name_the_images_why_and_what_to_do(console: Console) -> None:
    run_id, url = f"command-{uuid.uuid4()}", console.bench.database_url
    report = {"total": 8, "batches_created": 1, "linked": 2, "already": 0, "left": 1, "files_without_record": 0}
    report["repaired"] = 6
    errors = {"errors": {"archived": 3, "read_failed": 1}, "failed": {"archived": [12, 1345]}}  # one of an old release
    store_run_report(url, run_id, "image_link", report | {"skipped": {"no_patient": 1}} | errors)
    done = {"listed": 3, "left": 1, "outcomes": {"imported": 2, "failed": 1}, "containers": {"original": 2}}
    ended = {"reasons": {"not_readable": 1, "no_date": 4}, "failed": {"not_readable": [77]}, "stopped": "It stopped."}
    store_run_report(url, run_id, "image_import", done | ended)
    page = fetch(console, console.session("reception"), f"/settings/history/runs/{run_id}")
    assert "<dt>Batches that got their patient back</dt><dd>6</dd>" in page
    for text in ("original: 2", "It stopped.", "The record names no patient.", "Enter the patient in FileMaker"):
        assert text in page
    assert "<code>12</code>, <code>1345</code> and 1 more" in page
    assert "Its file lies in an archive of S3 (Glacier) and has to be restored there first." in page
    assert "restore the file in S3, then start it again" in page
    assert "None of the containers holds a picture that can be read." in page
    assert "<code>77</code></td>" in page
    assert page.count("An administrator can download the list of all.") == 2
    today = fetch(console, console.session("reception"), "/settings/data-management")
    for action, images in (("link", 4), ("import", 1)):
        report_of = f"/settings/history/runs/{run_id}#result-image_{action}"
        assert f'href="{report_of}">Image {action}</a>' in today
        assert re.search(f'href="{report_of}">{images} images? with an error</a>', today)


def test_a_reimport_that_a_restore_has_undone_is_nowhere_said_to_be_in_nexus(console: Console) -> None:
    bench, viewer, run_id = console.bench, console.session("reception"), f"command-{uuid.uuid4()}"
    ((reimport, plan, backup),) = bench.execute(
        "SELECT id::text, plan_id::text, backup_id::text FROM fm_pipeline.reimports ORDER BY started_at LIMIT 1"
    )
    later = "UPDATE fm_pipeline.plans SET created_at = created_at + %s * interval '100 years' WHERE id::text = %s"
    bench.execute(later, 1, plan)  # the newest of all
    pages = (
        "data-management",
        f"data-management/plans/{plan}",
        f"history/reimports/{reimport}",
        "history/?kind=reimport&since=2000-01-01",
        f"history/plans/{plan}",
    )
    try:
        before = [fetch(console, viewer, f"/settings/{page}") for page in pages]
        store_run_report(bench.database_url, run_id, "restore", {}, subject=backup)
        after = [fetch(console, viewer, f"/settings/{page}") for page in pages]
    finally:
        bench.execute(later, -1, plan)
        bench.execute("DELETE FROM fm_pipeline.run_reports WHERE run_id = %s", run_id)
    assert ["undone by" in page for page in before] == [False] * 5
    restore = rf'undone by <a [^>]*href="/settings/history/runs/{run_id}">the restore of 20[\d: -]+</a>'
    assert all(re.search(restore, page) for page in after)
    assert ("carried out already" in before[0], "carried out already" in after[0]) == (True, False)
    assert "Nexus has what it had before." in after[1]
    way_back = f'This is the way back: <a href="/settings/backups/{backup}#restore">restore it</a>'
    assert (way_back in before[2], way_back in after[2]) == (True, False)


def test_the_report_of_a_plan_leads_to_the_reimport_only_until_it_is_carried_out(console: Console) -> None:
    viewer, made = console.session("reception"), console.bench.plan().id
    ((done,),) = console.bench.execute("SELECT plan_id::text FROM fm_pipeline.reimports ORDER BY started_at LIMIT 1")
    pages = [fetch(console, viewer, f"/settings/history/plans/{plan}") for plan in (made, done)]
    assert ["Go on to the reimport" in page for page in pages] == [True, False]
    assert ["<dt>Carried out</dt><dd>20" in page for page in pages] == [False, True]


def test_a_cancelled_run_that_dagster_has_forgotten_is_said_to_have_left_nexus_unchanged(console: Console) -> None:
    run_id, url = str(uuid.uuid4()), console.bench.database_url
    for outcome in ("started", "cancelled"):
        record(url, actor="admin", action="reimport", outcome=outcome, run_id=run_id)
    step = (
        "INSERT INTO fm_pipeline.progress (run_id, step, position, done, total, started_at, updated_at, finished_at)"
        " VALUES (%s, %s, %s, 3, 9, now(), now(), CASE WHEN %s THEN now() END)"
    )
    for position, (name, has_ended) in enumerate([("read patient", True), ("phase 2", True), ("phase 3", False)]):
        console.bench.execute(step, run_id, name, position, has_ended)
    page = fetch(console, console.session("reception"), f"/settings/history/runs/{run_id}")
    assert "<strong>Nexus is unchanged.</strong> There is nothing to clean up." in page
    states = re.findall(r"<td><span[^>]*>(✓ done|tried, and rolled back|✗ stopped)</span>", page)
    assert states == ["✓ done", "tried, and rolled back", "✗ stopped"]


def test_a_run_has_one_page_as_long_as_dagster_keeps_it(console: Console) -> None:
    ((run_id,),) = console.bench.execute("SELECT gen_random_uuid()::text")
    viewer = console.session("reception")
    with dg.DagsterInstance.from_config(str(console.log.parents[1] / "dagster")) as instance:
        instance.add_run(dg.DagsterRun(job_name="make_backup", run_id=run_id, status=dg.DagsterRunStatus.CANCELED))
        try:
            answer = viewer.get(f"{console.url}/settings/history/runs/{run_id}", timeout=60, allow_redirects=False)
        finally:
            instance.delete_run(run_id)
    assert answer.headers["Location"] == f"/settings/data-management/runs/{run_id}"


def test_the_page_of_a_run_that_dagster_has_not_kept_leads_to_what_is_on_record(console: Console) -> None:
    run_id = str(uuid.uuid4())
    store_run_report(console.bench.database_url, run_id, "image_link", {"dry_run": True, "total": 5})
    page = fetch(console, console.session("reception"), f"/settings/data-management/runs/{run_id}")
    assert "Dagster has not kept it" in page
    assert "waits for its turn" not in page
