"""The page of the sync: what waits is shown by id, and an administrator lets it go on by typed words."""

from __future__ import annotations

from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch, run_of, send
from fm_pipeline_tests.support.clinics import DATABASE
from fm_pipeline_tests.support.waiting import wait_until

RECORD = """
SELECT s.record_id, s.nexus_id::text FROM fm_pipeline.staged_patients s JOIN patients p ON p.id = s.nexus_id
WHERE p.middle_names IS NOT NULL ORDER BY 1 LIMIT 1
"""
SYNC = "SELECT id::text, status FROM fm_pipeline.syncs WHERE run_id = %s"
PAGE = "/settings/sync/"


def test_an_admin_lets_a_sync_go_on_that_waits_and_a_viewer_only_sees_it(console: Console) -> None:
    bench, admin, viewer = console.bench, console.session("admin"), console.session("reception")
    ((record_id, nexus_id),) = bench.execute(RECORD)
    bench.execute("UPDATE patients SET middle_names = 'Nexus' WHERE id = %s", nexus_id)
    send(console, viewer, f"{PAGE}start", 403)
    first = run_of(send(console, admin, f"{PAGE}start"))
    wait_until(lambda: bool(bench.execute(SYNC, first)))
    ((sync_id, _),) = bench.execute(SYNC, first)
    shown = fetch(console, viewer, PAGE)
    assert f"<code>{nexus_id}</code>" in shown
    assert "edit_without_baseline" in shown

    bench.store.edit(DATABASE, "Patients", record_id, {"coordinator_name": "Fm"})
    started = [first]

    def started_another() -> bool:  # while the first run ends, the button leads to it
        started.append(run_of(send(console, admin, f"{PAGE}start")))
        return started[-1] != first

    wait_until(started_another)
    second = started[-1]
    wait_until(lambda: bool(bench.execute(SYNC, second)))
    ((sync_id, status),) = bench.execute(SYNC, second)
    assert status == "waits"
    assert ("Carry out this sync" in fetch(console, viewer, PAGE), "Carry out" in fetch(console, admin, PAGE)) == (
        False,
        True,
    )
    ((patients,),) = bench.execute("SELECT count(*) FROM patients")
    words = f"{bench.database_url.rsplit('/', 1)[1]} {patients}"
    assert "These are not the words" in send(console, admin, f"{PAGE}{sync_id}/confirm", 400, confirm="x").text
    send(console, viewer, f"{PAGE}{sync_id}/confirm", 403, confirm=words)
    confirmed = [second]

    def confirmed_it() -> bool:
        confirmed.append(run_of(send(console, admin, f"{PAGE}{sync_id}/confirm", confirm=words)))
        return confirmed[-1] != second

    wait_until(confirmed_it)
    done = confirmed[-1]
    wait_until(lambda: bool(bench.execute(SYNC, done)))
    assert bench.execute(SYNC, done)[0][1] == "committed"
    send(console, admin, f"{PAGE}{sync_id}/confirm", 409, confirm=words)
    who = "SELECT DISTINCT actor FROM fm_pipeline.audit WHERE action = 'sync' AND run_id = ANY(%s)"
    assert bench.execute(who, [first, second, done]) == [("admin",)]
    assert 'aria-current="page">' in fetch(console, admin, f"/settings/data-management/runs/{done}")
