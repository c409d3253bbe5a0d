"""What an administrator starts twice, or two start at the same moment, runs once."""

from __future__ import annotations

import re
from pathlib import Path

from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch, run_of, send, sent_together
from fm_pipeline_tests.support.waiting import wait_until

RUNS = "/settings/data-management/runs"
BACKUP = "SELECT id::text FROM fm_pipeline.backups ORDER BY created_at DESC LIMIT 1"


def test_of_two_administrators_who_start_the_same_at_once_the_second_is_led_to_the_run_of_the_first(
    console: Console, tmp_path: Path
) -> None:
    bench, sessions = console.bench, (console.session("admin"), console.session("manager"))
    plan = bench.plan()
    signed = dict.fromkeys(("data", "tested", "told"), "yes")
    ((backup_id,),) = bench.execute(BACKUP)
    folder = console.hospital / tmp_path.name
    folder.mkdir()
    # Every page starts its runs by `start_run`; these are the kinds of pages. Each run is cancelled at once.
    for path, form in (
        ("/settings/data-management/dry-run", {}),
        (f"/settings/backups/{backup_id}/verify", {}),
        (f"/settings/data-management/plans/{plan.id}/reimport", {"confirm": plan.confirmation, **signed}),
        (f"/settings/backups/{backup_id}/dry-run", {"newer": "stop"}),
        ("/settings/dicom/start", {"path": str(folder), "job_type": "manual"}),
    ):
        answers = sent_together(console, sessions, path, **form)
        pages = {answer.headers["Location"] for answer in answers}
        assert len(pages) == 1, path
        if path.startswith("/settings/dicom"):
            ((run_id,),) = bench.execute(
                "SELECT run_id FROM fm_pipeline.import_jobs WHERE source_path = %s", str(folder)
            )
        else:
            run_id = run_of(answers[0])
        shown = [fetch(console, session, pages.copy().pop()) for session in sessions]
        if path == "/settings/data-management/dry-run":
            page = fetch(console, sessions[0], f"/settings/data-management/plans/{plan.id}")
            assert "The button is locked until the <a" in page
        send(console, sessions[0], f"{RUNS}/{run_id}/cancel")
        told = [
            re.findall(r"Nothing more was started: this is under way already, started by (\w+)\.", p) for p in shown
        ]
        requester = bench.execute("SELECT actor FROM fm_pipeline.run_requests WHERE run_id = %s", run_id)
        assert [[who] for (who,) in requester] == [each for each in told if each], path
    wait_until(lambda: "Look at its progress" not in fetch(console, sessions[0], "/settings/data-management"))
