"""A reimport or a sync that a restore has undone is not said to be in Nexus."""

from __future__ import annotations

from fm_pipeline.db.run_reports import store_run_report
from fm_pipeline.status.plans import newest_plan
from fm_pipeline_tests.support.clinics import MigrationBench, Origin

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
