"""Dagster's queue of runs, which also records who asked for a run that comes from the console (named in dagster.yaml).

A run coordinator is where Dagster lets a deployment attribute runs: it knows the request that submits a run.
https://docs.dagster.io/deployment/execution/customizing-run-queue-priority
"""

from __future__ import annotations

import dagster as dg

from fm_pipeline.db.run_requests import record_run_request
from fm_pipeline.settings import load_settings


class AttributingRunCoordinator(dg.QueuedRunCoordinator):
    """Queues a run only after its requester is on record."""

    def submit_run(self, context: dg.SubmitRunContext) -> dg.DagsterRun:
        """Record who asks, if the workspace of the request knows it; then queue the run.

        Raises:
            DatabaseError: it could not be recorded; then nothing is queued.
        """
        actor = getattr(context.workspace, "username", None)
        if actor:
            url = load_settings().nexus_database_url.get_secret_value()
            record_run_request(url, context.dagster_run.run_id, actor)
        return super().submit_run(context)
