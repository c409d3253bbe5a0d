"""The page of the sync: what waits is shown by id, and an administrator lets it go on by typed words."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import requests

from fm_pipeline.sequence.sync_with_emails import run_sync
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch, is_led_to_wrong_words, run_of, send
from fm_pipeline_tests.support.clinics import DATABASE
from fm_pipeline_tests.support.waiting import wait_until

RECORD = """
SELECT s.record_id, s.nexus_id::text, p.middle_names
FROM fm_pipeline.staged_patients s JOIN patients p ON p.id = s.nexus_id
WHERE p.middle_names IS NOT NULL ORDER BY 1 LIMIT 1
"""
SYNC = "SELECT id::text, status, report->'changed_rows' FROM fm_pipeline.syncs WHERE run_id = %s"
LOSING = """
UPDATE fm_pipeline.syncs SET deletions = (SELECT CASE WHEN count(*) = 0 THEN '{}'
    ELSE jsonb_build_object('patient', jsonb_agg('row' || n)) END FROM generate_series(1, %s) n) WHERE id = %s
"""
NAMES = "SELECT coordinator_name, mrn FROM patients WHERE id = %s"
PAGE = "/settings/sync/"


def another_run(start: Callable[[], requests.Response], earlier: str = "") -> str:
    """Start a run, and return its id. While an earlier one ends, the button leads to that."""
    started = [earlier]

    def is_another() -> bool:
        started.append(run_of(start()))
        return started[-1] != earlier

    wait_until(is_another)
    return started[-1]


def _shows_a_thousand_ids(console: Console, sync_id: str) -> bool:
    console.bench.execute(LOSING, 1001, sync_id)
    shown = fetch(console, console.session("reception"), PAGE)
    console.bench.execute(LOSING, 0, sync_id)
    return (shown.count("<code>row"), "The first 1,000." in shown) == (1000, True)


def _says_that_no_sync_brings_a_deleted_row_back(console: Console, sync_id: str) -> bool:
    added = (
        "INSERT INTO fm_pipeline.sync_decisions (sync_id, entity, nexus_id, column_name, decision, kept, filemaker_key)"
        " VALUES (%s, 'note', 'deleted', '', 'deleted_conflict', true, 'key'),"
        " (%s, 'note', 'deleted', 'content', 'conflict', true, 'key')"
    )
    console.bench.execute(added, sync_id, sync_id)
    admin, viewer = (fetch(console, console.session(name), PAGE) for name in ("admin", "reception"))
    console.bench.execute("DELETE FROM fm_pipeline.sync_decisions WHERE nexus_id = 'deleted'")
    without = fetch(console, console.session("admin"), PAGE)
    advice = "only a full reimport inserts it again"
    assert [advice in page for page in (admin, viewer, without)] == [True, True, False]
    assert ["press <em>Sync now</em>" in page for page in (admin, viewer)] == [True, False]
    assert ["confirm the sync at the end" in page for page in (admin, viewer)] == [True, False]
    return "How to decide <em>deleted conflict</em>" in admin


def _shows_as_it_should(console: Console, sync_id: str, run_id: str) -> bool:
    assert _page_of_run_that_says(console, run_id, "The sync waits for a person: ")
    return _shows_a_thousand_ids(console, sync_id) and _says_that_no_sync_brings_a_deleted_row_back(console, sync_id)


def _page_of_run_that_says(console: Console, run_id: str, words: str) -> str:
    viewer, path = console.session("reception"), f"/settings/data-management/runs/{run_id}"
    wait_until(lambda: words in fetch(console, viewer, path))
    return fetch(console, viewer, path)


def _says_that_it_has_changed_nexus_in_place_of(console: Console, run_id: str, earlier: str) -> str:
    assert _page_of_run_that_says(console, earlier, "The sync waited for a person. A later one has taken its place: ")
    return _page_of_run_that_says(console, run_id, "Nexus has its changes: 1 row of Nexus ")


def test_an_admin_lets_a_sync_go_on_that_waits_and_undoes_it_by_typed_words_and_a_viewer_only_sees_it(
    console: Console,
) -> None:
    bench, admin, viewer = console.bench, console.session("admin"), console.session("reception")
    ((record_id, nexus_id, middle_names),) = bench.execute(RECORD)
    bench.execute("UPDATE patients SET middle_names = 'Nexus' WHERE id = %s", nexus_id)
    send(console, viewer, f"{PAGE}start", 403)
    run_sync(bench.settings, actor="bench", run_id=str(uuid.uuid4()))  # from now on it is known who changes what
    shown = fetch(console, viewer, PAGE)
    assert re.search(r'"rowgroup" colspan="5">Patient: 0 conflicts, \d+ differences? in all</th>', shown)
    assert f"<td><code>{nexus_id}</code></td>" in shown.partition("edit without baseline")[2]

    (before,) = bench.execute(NAMES, nexus_id)
    bench.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Canary"})
    first = another_run(lambda: send(console, admin, f"{PAGE}start"))
    wait_until(lambda: bool(bench.execute(SYNC, first)))
    ((sync_id, *found),) = bench.execute(SYNC, first)
    carry_out = ["Carry out" in fetch(console, session, PAGE) for session in (viewer, admin)]
    assert (found, carry_out, _shows_as_it_should(console, sync_id, first)) == (["waits", 1], [False, True], True)
    ((patients,),) = bench.execute("SELECT count(*) FROM patients")
    words = f"{bench.database_url.rsplit('/', 1)[1]} {patients}"
    assert is_led_to_wrong_words(send(console, admin, f"{PAGE}{sync_id}/confirm", 400, confirm="x").text)
    send(console, viewer, f"{PAGE}{sync_id}/confirm", 403, confirm=words)
    done = another_run(lambda: send(console, admin, f"{PAGE}{sync_id}/confirm", confirm=words), first)
    wait_until(lambda: bool(bench.execute(SYNC, done)))
    ((done_id, *found),) = bench.execute(SYNC, done)
    assert found == ["committed", 1]
    send(console, admin, f"{PAGE}{sync_id}/confirm", 409, confirm=words)
    who = "SELECT DISTINCT actor FROM fm_pipeline.audit WHERE action = 'sync' AND run_id = ANY(%s)"
    assert bench.execute(who, [first, done]) == [("admin",)]
    assert 'aria-current="page">' in _says_that_it_has_changed_nexus_in_place_of(console, done, first)

    page, undo = f"{PAGE}{done_id}", f"{PAGE}{done_id}/undo"
    for session in (admin, viewer):
        assert page in fetch(console, session, PAGE)
        shown = fetch(console, session, page)
        assert nexus_id in shown
        assert "coordinator name" in shown
        assert "Canary" not in shown
        assert ("Undo this sync" in shown) == (session is admin)
    send(console, viewer, undo, 403, confirm=words)
    assert is_led_to_wrong_words(send(console, admin, undo, 400, confirm="x").text)
    bench.execute("UPDATE patients SET mrn = 'Saved' WHERE id = %s", nexus_id)
    assert "saved since" in fetch(console, viewer, page)
    send(console, admin, undo, 409, confirm=words)
    bench.execute("UPDATE patients SET mrn = %s WHERE id = %s", before[1], nexus_id)

    run_id = another_run(lambda: send(console, admin, undo, confirm=words), done)
    ended = (
        "SELECT outcome, actor FROM fm_pipeline.audit WHERE run_id = %s AND action = 'sync' AND outcome <> 'started'"
    )
    wait_until(lambda: bool(bench.execute(ended, run_id)))
    assert (bench.execute(ended, run_id), bench.execute(NAMES, nexus_id)) == ([("done", "admin")], [before])
    fetch(console, viewer, page, 409)
    shown = fetch(console, admin, PAGE) + _page_of_run_that_says(console, run_id, "The sync was undone: its rows")
    said = (page, ">undone</span>", ">carried out</span>", "<h1>Undo of a sync</h1>")
    assert [words in shown for words in said] == [False, True, False, True]
    # For the plans of other tests: a sync keeps what was saved in Nexus, and FileMaker what was typed there.
    bench.execute("UPDATE patients SET middle_names = %s WHERE id = %s", middle_names, nexus_id)
    bench.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": before[0] or ""})
