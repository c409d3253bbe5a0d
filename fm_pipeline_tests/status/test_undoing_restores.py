"""A reimport or a sync that a restore has undone is not said to be in Nexus."""

from __future__ import annotations

from datetime import date

from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline.notifications.email_texts.reimport import EventType, RunEvent, body, subject
from fm_pipeline.notifications.send_run_emails import read_commit_status
from fm_pipeline.status.history import HistoryFilter, read_history
from fm_pipeline.status.nexus_counts import read_nexus_counts
from fm_pipeline.status.overview import read_overview
from fm_pipeline.status.plans import newest_plan
from fm_pipeline.status.recent import read_recent
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench, Origin

# Another row of the backup that the reimport has made.
BACKUP = """
INSERT INTO fm_pipeline.backups SELECT (jsonb_populate_record(b, jsonb_build_object('id', gen_random_uuid(),
    'created_at', clock_timestamp(), 'number', (SELECT max(number) + 1 FROM fm_pipeline.backups)))).*
FROM fm_pipeline.backups b ORDER BY number LIMIT 1 RETURNING id::text
"""


def test_a_reimport_is_undone_by_a_restore_of_what_was_before_and_is_back_with_a_later_backup(
    reimported_once: Origin, bench: MigrationBench
) -> None:
    url = bench.database_url

    def undone_by(run_id: str, backup_id: str, *, dry_run: bool = False) -> str:
        store_run_report(url, run_id, "restore", {}, dry_run=dry_run, subject=backup_id)
        plan = newest_plan(url)
        assert plan is not None
        assert plan.carried_out
        return plan.undone_by.run_id if plan.undone_by else ""

    ((before,),) = bench.execute("SELECT backup_id::text FROM fm_pipeline.reimports")
    ((after,),) = bench.execute(BACKUP)
    assert undone_by("tried", before, dry_run=True) == ""
    assert undone_by("same", after) == ""
    assert undone_by("undoes", before) == "undoes"
    ((without,),) = bench.execute(BACKUP)
    assert undone_by("back", after) == ""
    assert undone_by("away again", without) == "undoes", "that backup has what the restore had brought"


def test_every_answer_about_a_reimport_says_that_a_restore_has_undone_it(
    reimported_once: Origin, bench: MigrationBench
) -> None:
    url, run_id = bench.database_url, "the reimport"
    ((backup,),) = bench.execute("UPDATE fm_pipeline.reimports SET run_id = %s RETURNING backup_id::text", run_id)

    def answers() -> dict[str, bool]:
        overview, (attempts, _) = read_overview(url), read_history(url, HistoryFilter(kind="reimport"))
        return {
            "status, reimports": overview["reimports"][0]["undone_at"] is not None,
            "status, plans": any(plan["undone_at"] for plan in overview["plans"]),
            "connections": read_nexus_counts(bench.settings).last_reimport_undone is not None,
            "history": attempts[0]["undone"] is not None,
            "yesterday and today": any(each.undone for each in read_recent(url, date(2000, 1, 1))),
            "emails": read_commit_status(bench.settings, run_id).undone,
        }

    assert [where for where, undone in answers().items() if undone] == []
    store_run_report(url, "restoring", "restore", {}, subject=backup)
    assert [where for where, undone in answers().items() if not undone] == []

    late = RunEvent(run_id, EventType.SUCCEEDED, RUN_TIME, read_commit_status(bench.settings, run_id))
    assert "Reimport succeeded: a restore has undone it" in subject(late)
    assert "Nexus has the new data" not in subject(late) + body(late)
