from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import dagster as dg
import requests
from django_htmx.http import HTMX_STOP_POLLING

from fm_pipeline.db.audit import record
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.support.clinics import DATABASE
from fm_pipeline_tests.support.second_rows import add_second_row
from fm_pipeline_tests.support.waiting import wait_until

PAGE = "/settings/data-management"


def get(console: Console, session: requests.Session, path: str = "") -> requests.Response:
    return session.get(f"{console.url}{PAGE}{path}", timeout=60)


def post(console: Console, session: requests.Session, path: str, **fields: str) -> requests.Response:
    form = {"csrfmiddlewaretoken": session.cookies["fm_console_csrf"], **fields}
    return session.post(f"{console.url}{PAGE}{path}", data=form, timeout=60, allow_redirects=False)


def newest_plan(console: Console) -> str:
    ((plan_id,),) = console.bench.execute("SELECT id::text FROM fm_pipeline.plans ORDER BY created_at DESC LIMIT 1")
    return str(plan_id)


def test_the_page_shows_the_counts_of_today_and_whether_the_systems_answer(console: Console) -> None:
    session = console.session("reception")
    wait_until(lambda: "✓ Connected" in get(console, session).text)
    page = get(console, session).text
    ((patients,),) = console.bench.execute("SELECT count(*) FROM patients")
    assert f"<dt>Patients</dt><dd>{patients}</dd>" in page
    assert "without a funding source" in page
    assert "Patients by clinic" in page
    assert "FileMaker was last read 20" in page
    assert "The newest backup is of 20" in page


def test_the_page_says_how_what_was_done_since_yesterday_has_ended(console: Console) -> None:
    url, bench = console.bench.database_url, console.bench
    record(url, actor="nightly", action="verify", outcome="failed", run_id=uuid.uuid4().hex)
    bench.execute(
        "WITH job AS (INSERT INTO fm_pipeline.import_jobs (job_type, source_path, status, requested_by, files_bad)"
        " VALUES ('manual', '/none', 'completed', 'nobody', 1) RETURNING id)"
        " INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status)"
        " SELECT id, '/none/a', 'a', gen_random_uuid(), 'bad' FROM job"
    )
    try:
        session = console.session("reception")
        page, jobs = get(console, session).text, session.get(f"{console.url}/settings/dicom/jobs", timeout=60).text
    finally:
        bench.execute("DELETE FROM fm_pipeline.import_history WHERE file_path = '/none/a'")
        bench.execute("DELETE FROM fm_pipeline.import_jobs WHERE source_path = '/none'")
    assert re.search(r'<strong class="bad">\d+ things need your attention: what is red here', page)
    link = r'<a id="[^"]*" href="/settings/history/\?kind=verify&amp;since=[\d-]+">Verification</a>'
    assert re.search(rf'<li class="bad">{link}: [^<]*1 failed', page)
    assert re.search(
        r'<li class="bad"><a id="[^"]*" href="/settings/dicom/jobs">DICOM import</a>: .*; \d+ files? not imported',
        page,
    )
    assert re.search(r'<span class="bad"><a href="/settings/dicom/jobs/\d+#files">1</a></span>', jobs)


def test_a_page_that_has_the_newest_snapshot_is_answered_by_nothing(console: Console) -> None:
    session = console.session("reception")
    wait_until(lambda: "✓ Connected" in get(console, session, "/state").text)

    def is_told_nothing() -> bool:  # a snapshot may be renewed between the two requests
        found = re.search(r'name="seen" value="([\d.]+)"', get(console, session, "/state").text)
        return found is not None and get(console, session, f"/state?seen={found[1]}").status_code == 204

    wait_until(is_told_nothing)


def test_counts_of_before_a_restore_are_not_shown_after_it(console: Console) -> None:
    session, bench = console.session("reception"), console.bench

    def rows_shown() -> str:  # none while Nexus is being counted again
        found: list[str] = []

        def is_counted() -> bool:
            found.extend(re.findall(r"(\d+) without a funding source", get(console, session).text))
            return bool(found)

        wait_until(is_counted)
        return found[0]

    before = int(rows_shown())
    ((patient, funding),) = bench.execute(
        "SELECT id, funding_type_id FROM patients WHERE funding_type_id IS NOT NULL ORDER BY id LIMIT 1"
    )
    written = "UPDATE patients SET funding_type_id = %s WHERE id = %s"
    for value, expected in ((None, before + 1), (funding, before)):
        bench.execute(written, value, patient)
        record(bench.database_url, actor="admin", action="restore", outcome="done")
        assert rows_shown() == str(expected)  # of a page that is opened; one that is open learns of it within seconds
        shown = f"{expected} without a funding source"
        wait_until(lambda shown=shown: shown in get(console, session, "/state").text)  # type: ignore[misc]


def test_a_viewer_reads_a_plan_and_has_no_button_that_changes_anything(console: Console) -> None:
    session, plan_id = console.session("reception"), newest_plan(console)
    plan = get(console, session, f"/plans/{plan_id}").text
    assert re.search("(What|Nothing) would be lost", plan)
    assert "Full Reimport" not in plan
    assert 'action="/settings' not in get(console, session).text
    assert get(console, session, f"/plans/{plan_id}/reimport").status_code == 403
    for path in ("/dry-run", f"/plans/{plan_id}/reimport", f"/runs/{uuid.uuid4()}/cancel"):
        assert post(console, session, path).status_code == 403


def test_a_reimport_needs_the_whole_sign_off_list_and_the_right_words(console: Console) -> None:
    session = console.session("admin")
    made = console.bench.plan()
    plan_id = str(made.id)
    path = f"/plans/{plan_id}/reimport"
    page = get(console, session, path).text
    assert "made by this run before anything is changed" in page
    plan = get(console, session, f"/plans/{plan_id}").text
    assert ("No reimport is needed:" in plan) == (made.report.changed_rows == 0)
    assert "Nexus has no document or image of this id." in plan
    assert "Patients: rows to change" in get(console, session, f"/plans/{plan_id}/change/patients").text
    assert get(console, session, f"/plans/{plan_id}/delete/auth_user").status_code == 404
    ticked = {"tested": "yes", "told": "yes"}
    incomplete = post(console, session, path, confirm="any", tested="yes")
    assert incomplete.status_code == 409
    assert "Maintenance window scheduled; User notified of maintenance" in incomplete.text
    wrong = post(console, session, path, confirm="another 80", **ticked)
    assert wrong.status_code == 409
    assert "does not name this database and its number of patients" in wrong.text
    refused = "SELECT actor, address FROM fm_pipeline.audit WHERE plan_id::text = %s AND outcome = 'refused'"
    assert console.bench.execute(refused, plan_id) == [("admin", "127.0.0.1")]
    assert re.search(r">Reimport</a>: [^<]*\d+ mistyped", get(console, session).text)


def test_only_a_plan_that_would_change_something_has_a_red_button_and_it_says_what_it_does(console: Console) -> None:
    session, made = console.session("admin"), console.bench.plan(now=datetime.now(UTC))
    written = "UPDATE fm_pipeline.plans SET report = report || %s WHERE id = %s"
    nothing = {"losses": ["No row would be deleted, and none would lose a value."]}
    lost = {"losses": ["2 patients would be deleted."]}
    row = {"table": "patients", "before": 80, "after": 80, "without_filemaker_id": 0, "unchanged": 80}
    row |= dict.fromkeys(("deleted", "inserted", "updated"), 0)
    less = row | {"deleted": 2, "inserted": 1, "updated": 3, "unchanged": 75, "after": 79}
    in_numbers = "delete 2 rows, change 3 rows, insert 1 row, write to 4 rows that refer to them, and leave 75 rows"
    for report, buttons, words in (
        ({"changed_rows": 0, "tables": [row], **nothing}, "quiet", "Reimport"),
        ({"changed_rows": 10, "tables": [less], **lost}, "danger", "Reimport, and delete 2 rows"),
        ({"changed_rows": 1, "tables": [], **nothing}, "danger", "Import everything"),
    ):
        console.bench.execute(written, json.dumps(report), str(made.id))
        plan, page = get(console, session, f"/plans/{made.id}").text, get(console, session).text
        assert f'<button class="{buttons}">{words}</button>' in plan
        for each in (plan, page):
            assert re.search(rf'<a [^>]*class="button {buttons}" href="[^"]*#confirmation">Full Reimport', each)
            assert ("and leave 80 rows as they are" in each) == (report["changed_rows"] == 0)
            assert (in_numbers in each) == (report["changed_rows"] == 10)
        colour = "danger" if "delete" in words else "warning"
        assert f'<p class="note {colour}"><strong>A full reimport by the newest plan would delete' in page


def test_the_rows_that_would_be_deleted_are_shown_with_the_reason_of_each(console: Console) -> None:
    session, bench = console.session("reception"), console.bench
    ((record_id, key, note),) = bench.execute(
        "SELECT record_id, filemaker_key, fields ->> 'content' FROM fm_pipeline.source_records"
        " WHERE entity = 'note' AND fields ->> 'content' ~ '^[[:print:]]+$' ORDER BY record_id LIMIT 1"
    )
    bench.store.edit(DATABASE, "Notes", record_id, {"note": ""})
    try:
        made = bench.extract_and_stage().plan(now=datetime.now(UTC))
        plan = get(console, session, f"/plans/{made.id}").text
        page = get(console, session, f"/plans/{made.id}/delete/notes").text
    finally:
        bench.store.edit(DATABASE, "Notes", record_id, {"note": note})
        bench.extract_and_stage()
    which = rf'Which ones, and why: .*<a href="{PAGE}/plans/{made.id}/delete/notes">Notes \(\d+\)</a>'
    assert re.search(which, plan)
    why = f'FileMaker has <a href="/settings/not-loaded/note/{record_id}">the record</a>, but the rule [a-z_]+ keeps it'
    assert re.search(rf"<code>{key}</code></td><td>{why} out: [A-Z]", page)
    assert "Why they would be deleted" in page


def test_the_second_row_of_a_patient_is_listed_with_its_id_in_filemaker(console: Console) -> None:
    session, bench = console.session("reception"), console.bench
    ((patient, key),) = bench.execute(
        "SELECT nexus_id::text, filemaker_key FROM fm_pipeline.staged_patients JOIN patients ON id = nexus_id"
        " ORDER BY record_id LIMIT 1"
    )
    second = add_second_row(bench, patient)
    try:
        made = bench.extract_and_stage().plan(now=datetime.now(UTC))
        page = get(console, session, f"/plans/{made.id}/delete/patients").text
    finally:
        bench.execute("DELETE FROM patients WHERE id::text = %s", second)
        bench.execute("DELETE FROM fm_pipeline.retired_patient_ids WHERE nexus_id::text = %s", second)
        bench.extract_and_stage()
    why = "FileMaker's record is loaded as another row"
    assert f"<code>{second}</code></th><td><code>{key}</code></td><td>{why}" in page.replace("&#x27;", "'")
    assert f"a duplicate: {why}" in " ".join(made.report.losses)


def test_a_dry_run_is_recorded_with_who_asked_for_it_and_its_cancel_has_an_end_in_the_audit_trail(
    console: Console,
) -> None:
    session = console.session("manager")
    run_id = post(console, session, "/dry-run").headers["Location"].rsplit("/", 1)[-1]
    now = get(console, session).text
    assert re.search(rf'<strong>Dry run</strong> (waits|is) .*<a [^>]*href="{PAGE}/runs/{run_id}">', now)
    requests_of_run = "SELECT actor FROM fm_pipeline.run_requests WHERE run_id = %s"
    assert console.bench.execute(requests_of_run, run_id) == [("manager",)]
    assert post(console, session, f"/runs/{run_id}/cancel").status_code == 302
    rows = "SELECT outcome, address FROM fm_pipeline.audit WHERE run_id = %s AND action = 'cancel' ORDER BY id"
    assert console.bench.execute(rows, run_id) == [("started", "127.0.0.1"), ("done", "127.0.0.1")]
    wait_until(lambda: "cancelled</span>" in get(console, session, f"/runs/{run_id}").text)
    page = get(console, session, f"/runs/{run_id}").text
    assert "manager has cancelled it. <strong>Nexus is unchanged.</strong>" in page
    assert "says why it ended" not in page
    # Somebody else was too late.
    admin = console.session("admin")
    assert post(console, admin, f"/runs/{run_id}/cancel").headers["Location"] == f"{PAGE}/runs/{run_id}"
    page = get(console, admin, f"/runs/{run_id}").text
    assert "The run had ended before you cancelled it: nothing was cancelled." in page
    assert "manager has cancelled it." in page


@contextmanager
def added_runs(console: Console) -> Iterator[Callable[..., str]]:
    """Add runs to the Dagster of the console, which no process works on; the first status is shown as waiting."""
    with dg.DagsterInstance.from_config(str(console.log.parents[1] / "dagster")) as instance, ExitStack() as end:

        def add(job: str, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTING) -> str:
            run_id = instance.add_run(dg.DagsterRun(job_name=job, status=status)).run_id
            end.callback(lambda: instance.has_run(run_id) and instance.delete_run(run_id))
            return run_id

        yield add


def test_yesterday_and_today_has_the_runs_that_wait_and_those_that_have_just_begun(console: Console) -> None:
    viewer = console.session("reception")
    with added_runs(console) as add:
        add("export_nexus_csv", dg.DagsterRunStatus.STARTED)
        add("restore_backup")
        page = get(console, viewer).text
    recent = page.partition('id="recent"')[2].partition("</section>")[0]
    assert re.search(r">Restore \(dry run\)</a>: [^<]*1 waiting", recent)
    assert re.search(r">Export as CSV</a>: [^<]*1 not ended", recent)
    assert "Nothing was done." not in recent


def test_data_management_offers_no_reimport_and_counts_no_rows_of_a_plan_while_a_run_works(console: Console) -> None:
    admin = console.session("admin")
    console.bench.plan(now=datetime.now(UTC))
    assert "#confirmation" in get(console, admin).text
    with added_runs(console) as add:
        add("plan_reimport")
        page = get(console, admin).text
    assert "#confirmation" not in page
    assert "by the newest plan would" not in page
    assert "<em>Full Reimport</em> is offered again when the run has ended" in page


def test_a_failed_run_without_a_reason_shows_its_log_and_does_not_say_that_the_page_explains_it(
    console: Console,
) -> None:
    viewer = console.session("reception")
    with added_runs(console) as add:
        failed, works = add("make_backup", dg.DagsterRunStatus.FAILURE), add("export_nexus_csv")
        pages = [get(console, viewer, f"/runs/{run_id}").text for run_id in (failed, works)]
    assert ['<details id="log-lines" open>' in page for page in pages] == [True, False]
    assert ["What it means is said above." in page for page in pages] == [False, True]


def test_a_run_whose_result_is_on_record_is_not_said_to_be_running(console: Console) -> None:
    viewer, url = console.session("reception"), console.bench.database_url
    with added_runs(console) as add:
        ends, works = (add(job, dg.DagsterRunStatus.STARTED) for job in ("make_backup", "filemaker_sync"))
        record(url, actor="admin", action="backup", outcome="done", run_id=ends)
        pages = [get(console, viewer, f"/runs/{run_id}").text for run_id in (ends, works)]
        now = get(console, viewer).text
    assert ["✓ done</span>" in page for page in pages] == [True, False]
    assert [">running</span>" in page for page in pages] == [False, True]
    assert "The run itself ends in a moment." in pages[0]
    assert "<strong>Backup</strong> is done, and ends in a moment</span>" in now
    assert "<strong>Sync</strong> is running</span>" in now


def test_a_cancelled_sync_that_waits_says_so_and_that_its_steps_were_rolled_back(console: Console) -> None:
    viewer, bench = console.session("reception"), console.bench
    with added_runs(console) as add:
        run_id = add("filemaker_sync", dg.DagsterRunStatus.CANCELED)
        bench.execute(
            "INSERT INTO fm_pipeline.syncs (id, run_id, requested_by, created_at, status, inputs, report)"
            " VALUES (gen_random_uuid(), %s, 'nightly', now(), 'waits', '{}', '{}')",
            run_id,
        )
        bench.execute(
            "INSERT INTO fm_pipeline.progress (run_id, step, position, done, started_at, updated_at, finished_at)"
            " VALUES (%s, 'sync, phase 2', 1, 3, now(), now(), now())",
            run_id,
        )
        try:
            page = get(console, viewer, f"/runs/{run_id}").text
        finally:
            bench.execute("DELETE FROM fm_pipeline.syncs WHERE run_id = %s", run_id)
    decide = 'The sync waits for a person: <a href="/settings/sync/">decide on the page Sync</a>.'
    assert f"<strong>Nexus is unchanged.</strong> {decide}" in page
    assert re.search(r"Delete what FileMaker no longer has</th>\s*<td>.*tried, and rolled back", page)


def test_the_page_of_a_plan_locks_its_button_while_a_run_works_and_is_shown_anew_when_it_is_stale(
    console: Console,
) -> None:
    admin, made = console.session("admin"), console.bench.plan(now=datetime.now(UTC))
    state = f"/plans/{made.id}/state"
    assert 'name="standing" value="valid"' in get(console, admin, f"/plans/{made.id}").text
    assert get(console, admin, f"{state}?standing=valid&runs=").status_code == 204
    with added_runs(console) as add:
        run_id = add("plan_reimport")
        locked = get(console, admin, f"{state}?standing=valid&runs=")
        assert 'id="carry-out" class="actions" hx-swap-oob="true"' in locked.text
        assert " disabled>" in locked.text
        assert f'href="{PAGE}/runs/{run_id}">Look at its progress' in locked.text
        assert get(console, admin, f"{state}?standing=valid&runs={run_id}:queued").status_code == 204
        assert "carry-out" not in get(console, console.session("reception"), f"{state}?standing=valid&runs=").text
    before_it = f"{state}?standing=valid&runs={run_id}:queued"
    answers: list[requests.Response] = []

    def compared() -> bool:
        answers.append(get(console, admin, before_it))
        return answers[-1].status_code == 200

    wait_until(compared)
    free = answers[-1].text
    assert ('id="carry-out"' in free, " disabled>" in free) == (True, False)
    ((note_id, before),) = console.bench.execute("SELECT id::text, updated_at::text FROM notes ORDER BY id LIMIT 1")
    written = "UPDATE notes SET updated_at = %s WHERE id::text = %s"
    console.bench.execute(written, "2031-02-03 01:00+00", note_id)
    try:
        assert "This plan is stale" in get(console, admin, f"/plans/{made.id}").text
        valid = f"{state}?standing=valid&runs="
        wait_until(lambda: get(console, admin, valid).headers.get("HX-Redirect") == f"{PAGE}/plans/{made.id}")
        assert get(console, admin, f"{state}?standing=stale&runs=").status_code == HTMX_STOP_POLLING
    finally:
        console.bench.execute(written, before, note_id)


def test_a_run_without_a_step_says_what_it_waits_for_or_that_it_starts(console: Console) -> None:
    viewer, home = console.session("reception"), console.log.parents[1] / "dagster"
    starting, started = dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED  # the first is shown as waiting

    def state(run_id: str) -> str:
        page = get(console, viewer, f"/runs/{run_id}").text
        return page.partition('id="state-title"')[2].partition("</section>")[0]

    with dg.DagsterInstance.from_config(str(home)) as instance, ExitStack() as end:

        def add(job: str, status: dg.DagsterRunStatus = starting) -> str:
            run_id = instance.add_run(dg.DagsterRun(job_name=job, status=status)).run_id
            end.callback(lambda: instance.has_run(run_id) and instance.delete_run(run_id))
            return run_id

        first, waiting, imported = add("link_images"), add("plan_reimport"), add("dicom_import")
        running = add("restore_backup", started)
        states = [state(run_id) for run_id in (waiting, imported, running)]
        instance.delete_run(imported)
        add("make_backup")
        limited = state(add("dicom_import"))
    link = f'<a href="{PAGE}/runs/{first}">Image link</a>'
    assert f"one after the other. Not ended yet: {link}. The plan opens here" in states[0]
    assert "The server is starting it. On a busy" in states[1], "no other run of DICOM waits"
    assert "The server is loading the program for its first step." in states[2]
    assert "seconds" not in states[2]
    assert "at most 4 runs may work at the same time. Not ended yet: " in limited
    assert link in limited


def test_what_does_not_exist_is_said_in_three_sentences(console: Console) -> None:
    session = console.session("admin")
    for path in (f"/plans/{uuid.uuid4()}", f"/runs/{uuid.uuid4()}", f"/runs/{uuid.uuid4()}/log.txt"):
        answer = get(console, session, path)
        assert answer.status_code == 404
        assert "There is no" in answer.text
