"""A link whose process ends just after its COMMIT is in the history with what it has written."""

from __future__ import annotations

from fm_pipeline.sequence.writing_runs import runs_since
from fm_pipeline.status.history import HistoryFilter, read_history, read_run
from fm_pipeline_tests.images.scene import Scene
from fm_pipeline_tests.support.clinics import RUN_TIME


def test_a_link_that_has_only_repaired_batches_is_on_record_from_its_commit_on(scene: Scene) -> None:
    scene.add(2)
    scene.link()
    scene.bench.execute("UPDATE images_batch SET object_id = gen_random_uuid()")
    with scene.bench.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        ((since,),) = cursor.fetchall()
        report = scene.link(run_id="command-1")  # what the command does afterwards is left out
        assert (report.linked, report.repaired) == (0, 1)
        assert [(run.kind, run.run_id) for run in runs_since(cursor, since)] == [("image_link", "command-1")]
    (stored,) = read_run(scene.bench.database_url, "command-1")["reports"]
    assert (stored["dry_run"], stored["report"]["repaired"]) == (False, 1)
    shown, _ = read_history(scene.bench.database_url, HistoryFilter(kind="image_link"))
    assert [(each["run_id"], each["has_report"]) for each in shown if each["run_id"]] == [("command-1", True)]


def test_a_link_without_an_id_stores_no_report(scene: Scene) -> None:
    scene.add(2)
    scene.link(now=RUN_TIME)
    assert scene.bench.execute("SELECT count(*) FROM fm_pipeline.run_reports") == [(0,)]
