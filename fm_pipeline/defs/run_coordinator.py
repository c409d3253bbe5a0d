"""Dagster's queue of runs, which also records who asked for a run that comes from the console (named in dagster.yaml).

If the run of a chunk is ended, it cancels the whole import.

A run coordinator is where Dagster lets a deployment attribute runs: it knows the request that submits a run.
https://docs.dagster.io/deployment/execution/customizing-run-queue-priority
"""

from __future__ import annotations

from contextlib import suppress

import dagster as dg

from fm_pipeline.db.run_requests import record_run_request
from fm_pipeline.defs.names import CHUNK_TAG
from fm_pipeline.dicom.history.jobs import request_cancel
from fm_pipeline.errors import RequestError
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

    def cancel_run(self, run_id: str) -> bool:
        """End a run. With the run of a chunk the import is cancelled, at any of the run's moments.

        A run that waits in the queue has no code that could do this, and one that has just imported its chunk no more.

        Raises:
            DatabaseError: the import could not be cancelled.
        """
        run = self._instance.get_run_by_id(run_id)
        ended = super().cancel_run(run_id)
        if run is not None and not run.is_finished and CHUNK_TAG in run.tags:
            url = load_settings().nexus_database_url.get_secret_value()
            with suppress(RequestError):  # it has ended
                request_cancel(url, int(run.tags[CHUNK_TAG].partition("/")[0]))
        return ended
