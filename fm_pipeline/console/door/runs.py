"""Launch and end runs for a page, as Dagster's own pages do: by GraphQL, with the permissions of who asks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from asgiref.sync import async_to_sync
from dagster_graphql.schema import create_schema

from fm_pipeline.console.door.context import ConsoleProcessContext, Requester
from fm_pipeline.errors import PipelineError, RequestError

_log = logging.getLogger(__name__)

LOCATION, REPOSITORY = "fm_pipeline", "__repository__"
_LAUNCH = """
mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message } ... on UnauthorizedError { message } } }
"""
_TERMINATE = """
mutation End($runId: String!) { terminateRun(runId: $runId, terminatePolicy: SAFE_TERMINATE) { __typename
  ... on TerminateRunFailure { message } ... on PythonError { message } } }
"""


class Runs:
    """The runs of one Dagster instance.

    Args:
        context: of the web server.
    """

    def __init__(self, context: ConsoleProcessContext) -> None:
        self._context = context
        self._schema = create_schema()

    def launch(self, username: str, job: str, config: Mapping[str, Any] | None = None) -> str:
        """Queue a run of a job and return its id.

        Args:
            username: the admin who asks; recorded with the run.
            config: run config, as in the launchpad.

        Raises:
            RequestError: Dagster refused it.
        """
        selector = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, "jobName": job}
        params = {"selector": selector, "runConfigData": dict(config or {}), "mode": "default"}
        result = self._execute(_LAUNCH, {"params": params}, username)["launchRun"]
        if result["__typename"] != "LaunchRunSuccess":
            raise RequestError(
                f"Dagster did not launch {job} ({result['__typename']}).",
                meaning="Nothing was started.",
                remedy="Look at the page Deployment of Dagster: the code location must be loaded.",
            )
        return str(result["run"]["runId"])

    def terminate(self, username: str, run_id: str) -> None:
        """End a run as Dagster's button "Terminate" does.

        Raises:
            RequestError: it has ended, or there is none.
        """
        result = self._execute(_TERMINATE, {"runId": run_id}, username)["terminateRun"]
        if result["__typename"] != "TerminateRunSuccess":
            raise RequestError(f"The run {run_id} was not cancelled ({result['__typename']}).", code=409)

    def _execute(self, query: str, variables: Mapping[str, Any], username: str) -> dict[str, Any]:
        context = self._context.create_request_context(Requester.admin(username))
        answer = async_to_sync(self._schema.execute_async)(query, context_value=context, variables=variables)
        if answer.errors or answer.data is None:
            _log.error("Dagster's answer: %s", answer.errors)
            raise PipelineError("Dagster did not carry out the request.", meaning="Nothing was started or ended.")
        data: dict[str, Any] = answer.data
        return data
