"""Backups: made, tried, restored by typed words, exported and downloaded, by an administrator only."""

from __future__ import annotations

import json
import re
import uuid
from html import unescape
from pathlib import Path

import requests

from fm_pipeline.db.audit import record
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch, is_led_to_wrong_words, run_of, send
from fm_pipeline_tests.support.waiting import wait_until

REPORT = "SELECT report FROM fm_pipeline.run_reports WHERE run_id = %s"


def test_an_admin_makes_tries_and_restores_a_backup_by_typed_words(console: Console) -> None:
    bench, session = console.bench, console.session("admin")
    made = run_of(send(console, session, "/settings/backups/make"))
    wait_until(lambda: bool(bench.execute("SELECT 1 FROM fm_pipeline.backups WHERE run_id = %s", made)))
    ((backup_id,),) = bench.execute("SELECT id::text FROM fm_pipeline.backups WHERE run_id = %s", made)
    page = f"/settings/backups/{backup_id}"
    assert f'href="{page}#restore"' in fetch(console, session, "/settings/backups/")
    assert "To confirm, type" not in fetch(console, session, page), "the dry run comes first"
    assert "not tried yet" in send(console, session, f"{page}/restore", 409, confirm="x").text
    send(console, session, f"{page}/dry-run", 400, newer="whatever")

    tried = run_of(send(console, session, f"{page}/dry-run", newer="stop"))
    wait_until(lambda: bool(bench.execute(REPORT, tried)))
    ((report,),) = bench.execute(REPORT, tried)
    words = report["confirmation"]
    run = fetch(console, session, f"/settings/data-management/runs/{tried}")
    assert "<h1>Dry run of a restore: Nexus stays as it is</h1>" in run
    assert '<a href="/settings/backups/" aria-current="page">' in run
    assert ("with confirm=" in run, "Trial restore (nothing is kept)" in run) == (False, True)
    assert f'href="{page}#carry-out">Go on with the restore' in run
    assert f'<dt>Backup</dt><dd><a href="{page}">' in run
    assert "makes no backup of the present state" in fetch(console, session, page)
    whose = "the number of patients in this backup, with one space between them"
    assert f'{whose}: <strong class="words">{words}</strong>' in fetch(console, session, page)
    assert "This was a dry run: Nexus is unchanged" in fetch(console, session, f"/settings/history/runs/{tried}")

    later = "UPDATE fm_pipeline.reimports SET started_at = started_at + %s * interval '100 years'"
    bench.execute(later, 1)  # a reimport that the dry run has not seen
    refused_restore = send(console, session, f"{page}/restore", 409, confirm=words)
    bench.execute(later, -1)
    assert "not since the last restore, reimport or sync" in refused_restore.text

    wrong = send(console, session, f"{page}/restore", 400, confirm=f"{words}0")
    assert is_led_to_wrong_words(wrong.text)
    refused = "SELECT actor, outcome FROM fm_pipeline.audit WHERE action = 'restore' AND detail LIKE %s"
    assert bench.execute(refused, f"%words%{backup_id}%") == [("admin", "refused")]

    restored = run_of(send(console, session, f"{page}/restore", confirm=f" {words} "))
    pasted = words.replace(" ", "\u00a0\r\n")
    assert run_of(send(console, console.session("manager"), f"{page}/restore", confirm=pasted)) == restored
    wait_until(lambda: bool(bench.execute(REPORT, restored)))
    assert bench.execute(REPORT, restored)[0][0]["committed"] is True
    end = f"/settings/data-management/runs/{restored}"
    now = fetch(console, session, end)
    assert "Nexus then stays as it was, unless the last step has ended." in now or "Cancel this run" not in now
    wait_until(lambda: "What the backup holds is in Nexus again: " in fetch(console, session, end))
    send(console, session, f"{page}/restore", 409, confirm=words)  # the words were for that one
    assert "<p>Done in " in fetch(console, session, f"/settings/history/runs/{restored}")
    _assert_its_dry_run_leads_no_further(console, session, tried)
    _assert_the_way_back_is_named(console, session, end, backup_id)
    _assert_a_late_cancel_is_said_to_have_had_no_effect(console, session, end, restored)
    who = "SELECT DISTINCT actor FROM fm_pipeline.audit WHERE run_id = ANY(%s)"
    assert bench.execute(who, [made, tried, restored]) == [("admin",)]


def _assert_its_dry_run_leads_no_further(console: Console, session: requests.Session, tried: str) -> None:
    for path in (f"/settings/history/runs/{tried}", f"/settings/data-management/runs/{tried}"):
        page = fetch(console, session, path)
        assert ("Go on with the restore" in page, "This dry run no longer counts" in page) == (False, True)


def _assert_the_way_back_is_named(console: Console, session: requests.Session, end: str, restored: str) -> None:
    copied = (
        "INSERT INTO fm_pipeline.backups SELECT (jsonb_populate_record(b, jsonb_build_object('id', gen_random_uuid(),"
        " 'created_at', b.created_at + %s * interval '1 millisecond'))).* FROM fm_pipeline.backups b"
        " WHERE id::text = %s RETURNING id::text"
    )
    moved = "UPDATE fm_pipeline.backups SET folder = %s WHERE id::text = %s RETURNING folder"
    ((older,),) = console.bench.execute(copied, -1, restored)
    ((folder,),) = console.bench.execute("SELECT folder FROM fm_pipeline.backups WHERE id::text = %s", restored)
    try:
        assert "None: no backup was made between" in fetch(console, session, end)
        console.bench.execute(moved, f"{folder}-removed", restored)
        assert "None: no backup was made between" in fetch(console, session, end)
    finally:
        console.bench.execute(moved, folder, restored)
        console.bench.execute("DELETE FROM fm_pipeline.backups WHERE id::text = %s", older)
    ((newer,),) = console.bench.execute(copied, 1, restored)
    try:
        way_back = fetch(console, session, end).partition("<dt>Way back</dt>")[2]
    finally:
        console.bench.execute("DELETE FROM fm_pipeline.backups WHERE id::text = %s", newer)
    assert way_back.startswith(
        f'<dd>The newest backup from before this restore is of <a href="/settings/backups/{newer}#restore">'
    )


def _assert_a_late_cancel_is_said_to_have_had_no_effect(
    console: Console, session: requests.Session, end: str, run_id: str
) -> None:
    assert "too late" not in fetch(console, session, end)
    record(console.bench.database_url, actor="admin", action="cancel", outcome="done", run_id=run_id)
    assert "admin cancelled it, but too late: everything had been done by then" in fetch(console, session, end)
    later = send(console, session, f"{end}/cancel").headers["Location"]
    assert "The run had ended before you cancelled it: nothing was cancelled." in fetch(console, session, later)


def test_the_page_of_a_run_that_failed_says_why(console: Console) -> None:
    bench, session = console.bench, console.session("admin")
    ((backup_id, folder),) = bench.execute(
        "SELECT id::text, folder FROM fm_pipeline.backups ORDER BY created_at DESC LIMIT 1"
    )
    manifest = Path(folder) / "manifest.json"
    manifest.rename(manifest.with_suffix(".away"))
    try:
        run_id = run_of(send(console, session, f"/settings/backups/{backup_id}/verify"))
        run = f"/settings/data-management/runs/{run_id}"
        wait_until(lambda: "✗ failed" in fetch(console, session, run))
    finally:
        manifest.with_suffix(".away").rename(manifest)
    ((reason,),) = bench.execute(
        "SELECT detail FROM fm_pipeline.audit WHERE run_id = %s AND outcome IN ('refused', 'failed')",
        run_id,
    )
    state = unescape(fetch(console, session, run)).partition('id="state-title"')[2].partition("</section>")[0]
    assert reason.splitlines()[0] in state
    assert "says why" not in state


def test_exports_are_downloaded_by_admins_and_each_download_is_recorded(console: Console) -> None:
    bench, session = console.bench, console.session("admin")
    run_id = run_of(send(console, session, "/settings/backups/export"))
    wait_until(lambda: bool(bench.execute(REPORT, run_id)))
    name = bench.execute(REPORT, run_id)[0][0]["name"]
    file = f"/settings/backups/exports/{name}/patients.csv"
    assert file in fetch(console, session, "/settings/backups/")
    answer = session.get(console.url + file, timeout=60)
    assert answer.content == (Path(bench.settings.state_dir) / "backups" / "csv" / name / "patients.csv").read_bytes()
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}-patients.csv"'
    recorded = "SELECT actor, address FROM fm_pipeline.audit WHERE action = 'download' AND detail LIKE %s"
    assert bench.execute(recorded, f"%patients.csv%{name}%") == [("admin", "127.0.0.1")]
    for wrong in (f"{name}/..%2Fpatients.csv", f"..%2F{name}/patients.csv", f"{name}/none.csv"):
        assert session.get(f"{console.url}/settings/backups/exports/{wrong}", timeout=60).status_code == 404
    viewer = console.session("reception")
    assert file not in fetch(console, viewer, "/settings/backups/")
    assert viewer.get(console.url + file, timeout=60).status_code == 403


def test_a_viewer_sees_backups_and_starts_nothing(console: Console) -> None:
    viewer = console.session("reception")
    ((backup_id,),) = console.bench.execute("SELECT id::text FROM fm_pipeline.backups ORDER BY created_at LIMIT 1")
    page = fetch(console, viewer, f"/settings/backups/{backup_id}")
    assert "<button>" not in page.partition("<main")[2]
    for action in ("verify", "dry-run", "restore"):
        send(console, viewer, f"/settings/backups/{backup_id}/{action}", 403)
    for action in ("make", "export"):
        send(console, viewer, f"/settings/backups/{action}", 403)
    fetch(console, viewer, f"/settings/backups/{uuid.uuid4()}", 404)
    assert json.dumps(console.bench.execute("SELECT actor FROM fm_pipeline.run_requests")).count("reception") == 0


def test_many_backups_are_shown_in_pages(console: Console) -> None:
    bench, session = console.bench, console.session("reception")
    folder = f"/nowhere/{uuid.uuid4()}"
    bench.execute(
        "INSERT INTO fm_pipeline.backups SELECT (jsonb_populate_record(b, jsonb_build_object('id', gen_random_uuid(),"
        " 'folder', %s::text, 'created_at', b.created_at - i * interval '1 hour'))).* FROM fm_pipeline.backups b,"
        " generate_series(1, 120) i WHERE b.id = (SELECT id FROM fm_pipeline.backups ORDER BY created_at LIMIT 1)",
        folder,
    )
    try:
        pages = [fetch(console, session, f"/settings/backups/?page={number}") for number in (1, 2, 3, 9)]
    finally:
        bench.execute("DELETE FROM fm_pipeline.backups WHERE folder = %s", folder)
    rows = [len(re.findall(r'href="/settings/backups/[0-9a-f]', page)) for page in pages]
    assert (rows[:2], 20 <= rows[2] < 50, rows[3]) == ([50, 50], True, 0)
    assert ['rel="next"' in page for page in pages] == [True, True, False, False]
    assert "No more." in pages[3]
