"""The log of a run, as a page reads it again and again."""

from __future__ import annotations

import dagster as dg

from fm_pipeline.console.gateway.context import ConsoleProcessContext
from fm_pipeline.console.gateway.runs import Runs


@dg.job
def _nothing() -> None:
    """Do nothing."""


def test_of_a_long_log_the_last_events_are_read_and_each_new_one_is_noticed(context: ConsoleProcessContext) -> None:
    instance = context.instance
    run = instance.create_run_for_job(_nothing)
    runs = Runs(context)

    def says_more() -> None:
        instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.RUN_CANCELING.value, "_nothing"), run.run_id)

    assert runs.log(run.run_id, 3).newest == 0
    seen = []
    for _ in range(5):
        says_more()
        log = runs.log(run.run_id, 3)
        seen.append((log.newest, len(log.lines), log.is_whole))
    assert len({newest for newest, _, _ in seen}) == 5
    assert [rest for _, *rest in seen] == [[1, True], [2, True], [3, False], [3, False], [3, False]]
    assert (len(runs.log(run.run_id).lines), runs.log(run.run_id).is_whole) == (5, True)
