from __future__ import annotations

import uuid
from collections.abc import Iterator

import dagster as dg
import pytest

from fm_pipeline.db.audit import operating_system_user
from fm_pipeline.db.migrate import migrate
from fm_pipeline.db.run_requests import record_run_request, run_requester
from fm_pipeline.defs.dagster_internals import PARENT_RUN_ID_TAG, RETRY_NUMBER_TAG
from fm_pipeline.defs.requester import account_of_run
from fm_pipeline_tests.defs.assets.test_runs import Graph
from fm_pipeline_tests.support.clinics import MigrationBench


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run_of(parent: dg.DagsterRun | None = None, **tags: str) -> dg.DagsterRun:
    before = parent.run_id if parent else None
    return dg.DagsterRun("plan_reimport", str(uuid.uuid4()), tags=tags, parent_run_id=before, root_run_id=before)


def test_a_database_that_is_new_to_the_pipeline_has_no_requests(database_url: str) -> None:
    assert run_requester(database_url, "any") is None


def test_a_repetition_by_dagster_keeps_the_account_and_one_by_a_person_does_not(
    instance: dg.DagsterInstance, database_url: str
) -> None:
    migrate(database_url)
    first = run_of()
    by_dagster = run_of(first, **{RETRY_NUMBER_TAG: "1", PARENT_RUN_ID_TAG: first.run_id})
    by_a_person = run_of(first, **{PARENT_RUN_ID_TAG: first.run_id})
    for run in (first, by_dagster, by_a_person):
        instance.add_run(run)
    record_run_request(database_url, first.run_id, "manager")
    found = [account_of_run(instance, run, database_url) for run in (first, by_dagster, by_a_person)]
    assert found == ["manager", "manager", None]


@pytest.mark.usefixtures("staged_once")
def test_the_audit_trail_takes_the_account_of_the_request_and_a_configuration_only_as_a_remark(
    bench: MigrationBench, instance: dg.DagsterInstance
) -> None:
    graph, plan = Graph(bench, instance), bench.plan()
    config = {"plan_id": plan.id, "confirm": "wrong words", "requested_by": "the director"}
    asked, not_asked = str(uuid.uuid4()), str(uuid.uuid4())
    record_run_request(bench.database_url, asked, "manager")
    for run_id in (asked, not_asked):
        graph.defs.resolve_job_def("full_reimport").execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_id=run_id,
            run_config={"ops": {"reimport_transaction": {"config": config}}},
            tags={"user": "the director"},
        )
    actors = "SELECT DISTINCT actor FROM fm_pipeline.audit WHERE run_id = %s"
    assert bench.execute(actors, asked) == [("manager",)]
    assert bench.execute(actors, not_asked) == [(f"dagster ({operating_system_user()}): the director",)]
