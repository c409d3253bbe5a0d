"""The requests that Dagster's pages send when somebody launches or repeats a run."""

from __future__ import annotations

from typing import Any

import requests

from fm_pipeline_tests.support.waiting import wait_until

LIMIT_SECONDS = 120
_LAUNCHED = "{ __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }"
LAUNCH = f"mutation ($p: ExecutionParams!) {{ launchPipelineExecution(executionParams: $p) {_LAUNCHED} }}"
REPEAT = f"mutation ($p: ReexecutionParams!) {{ launchPipelineReexecution(reexecutionParams: $p) {_LAUNCHED} }}"
RUN = """query ($id: ID!) { runOrError(runId: $id) { ... on Run { status assetSelection { path }
  eventConnection(limit: 1000) { events { __typename ... on ExecutionStepFailureEvent { stepKey error { message } } } }
} } }"""


class Ui:
    """What Dagster's pages ask of the web server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: Any) -> Any:
        answer = requests.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer
        (content,) = answer["data"].values()
        return content

    def launch(self, *assets: str) -> str:
        """The button "Materialize", "Materialize all" or "Materialize selected"."""
        selector = {
            "repositoryLocationName": "fm_pipeline",
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": [name]} for name in assets],
        }
        answer = self.ask(LAUNCH, p={"mode": "default", "runConfigData": "{}", "selector": selector})
        assert "run" in answer, answer
        return str(answer["run"]["runId"])

    def repeat(self, run_id: str, strategy: str) -> str:
        """The menu "Re-execute"."""
        answer = self.ask(REPEAT, p={"parentRunId": run_id, "strategy": strategy})
        assert "run" in answer, answer
        return str(answer["run"]["runId"])

    def selection(self, run_id: str) -> set[str]:
        """The assets that a run was launched for."""
        return {"/".join(key["path"]) for key in self.ask(RUN, id=run_id)["assetSelection"]}

    def failures(self, run_id: str) -> dict[str, str]:
        """What each failed step says, when the run has ended."""
        wait_until(lambda: self.ask(RUN, id=run_id)["status"] == "FAILURE", LIMIT_SECONDS)
        run = self.ask(RUN, id=run_id)
        events = run["eventConnection"]["events"]
        return {e["stepKey"]: e["error"]["message"] for e in events if e["__typename"] == "ExecutionStepFailureEvent"}
