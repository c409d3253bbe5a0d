"""The jobs of the console's page of backups, in this process."""

from __future__ import annotations

import dagster as dg
import pytest

from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.backup.backup import list_backups
from fm_pipeline.nexus.backup.export_csv import list_exports, open_export
from fm_pipeline.status.history import HistoryFilter, last_run_report, read_history
from fm_pipeline_tests.defs.assets.test_runs import Graph
from fm_pipeline_tests.support.clinics import MigrationBench


@pytest.mark.usefixtures("reimported_once")
def test_a_backup_is_made_verified_tried_and_exported_by_jobs_whose_reports_stay(bench: MigrationBench) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        graph = Graph(bench, instance)
        assert graph.run("make_backup").success
        newest = list_backups(bench.settings)[0]
        assert graph.run("verify_backup", config={"verify_rows": {"config": {"backup_id": newest.id.upper()}}}).success
        bench.execute("DELETE FROM sms_messages")
        tried = graph.run("restore_backup", config={"restore_rows": {"config": {"folder": str(newest.folder)}}})
        assert tried.success
        assert graph.run("export_nexus_csv").success
        unknown = graph.run("verify_backup", config={"verify_rows": {"config": {"backup_id": "none"}}})
        assert not unknown.success

    verified = last_run_report(bench.database_url, "verify", subject=newest.id)
    assert verified["report"]["rows"] == sum(digest.rows for digest in newest.digests.values())
    shown = last_run_report(bench.database_url, "restore", subject=newest.id, dry_run=True)
    assert shown["run_id"] == tried.run_id
    (messages,) = [table for table in shown["report"]["tables"] if table["table"] == "sms_messages"]
    assert messages["inserted"] == newest.digests["sms_messages"].rows > 0
    assert bench.execute("SELECT count(*) FROM sms_messages") == [(0,)], "rolled back"

    (export,) = list_exports(bench.settings)
    assert export.name == last_run_report(bench.database_url, "export")["report"]["name"]
    with open_export(bench.settings, export.name, "patients.csv") as file:
        assert file.readline().startswith(b"id,")
    for name, wanted in ((export.name, "../patients.csv"), ("..", "mails.sqlite"), (".", export.name)):
        with pytest.raises(RequestError):
            open_export(bench.settings, name, wanted)

    ends = {
        (each["kind"], each["outcome"], each["dry_run"])
        for each in read_history(bench.database_url, HistoryFilter())[0]
    }
    assert {("backup", "done", False), ("verify", "done", False), ("verify", "refused", False)} <= ends
    assert {("export", "done", False), ("restore", "done", True)} <= ends
    assert ("restore", "done", False) not in ends
