"""The service is killed in the middle of a reimport; `scripts/kills-serve` does it at many moments."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from fm_pipeline.sandbox.clinic.nexus.system import ADMIN, SANDBOX_PASSWORD
from fm_pipeline_tests.kills.clinic import Gate, kill_clinic
from fm_pipeline_tests.serve.served_clinic import PARTS, SUPERVISOR, served


def test_a_run_goes_on_when_the_service_is_killed_and_can_be_cancelled_after_the_restart(tmp_path: Path) -> None:
    with kill_clinic(tmp_path) as clinic, served(clinic) as here:
        here.start()
        with here.closed(Gate.PHASE_4):
            cancelled = here.reimport()
            here.wait_at(Gate.PHASE_4)
            for part in PARTS:
                here.kill(part)
            here.wait_for_restart(*PARTS)
            assert here.cancel(cancelled) == ""
        assert here.end_of(cancelled) is dg.DagsterRunStatus.CANCELED
        assert clinic.state() == "before"

        with here.closed(Gate.PHASE_5):
            reimport = here.reimport()
            here.wait_at(Gate.PHASE_5)
            here.kill(SUPERVISOR)
            here.start()
        assert here.end_of(reimport) is dg.DagsterRunStatus.SUCCESS
        assert clinic.bench.execute("SELECT run_id FROM fm_pipeline.reimports") == [(reimport,)]

        session = here.console.log_in(ADMIN, SANDBOX_PASSWORD)
        question = {"query": "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"}
        answer = session.post(
            f"{here.console.url}/dagster/graphql", json=question | {"variables": {"id": reimport}}, timeout=60
        )
        assert answer.json()["data"]["runOrError"]["status"] == "SUCCESS"
