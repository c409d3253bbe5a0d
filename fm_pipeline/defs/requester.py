"""Who asked for a run, for the audit trail."""

from __future__ import annotations

import dagster as dg

from fm_pipeline.db.audit import operating_system_user
from fm_pipeline.db.run_requests import run_requester
from fm_pipeline.defs.dagster_internals import RETRY_NUMBER_TAG
from fm_pipeline.defs.names import NIGHTLY_DICOM
from fm_pipeline.dicom.history.jobs import SENSOR
from fm_pipeline.settings import Settings

# What asks for runs by itself. None of these is an account of Nexus.
AUTOMATIONS = {SENSOR, NIGHTLY_DICOM}
REMARK = "A remark on who asks. The audit trail takes the account that started the run in the console."


def requester(context: dg.OpExecutionContext | dg.AssetExecutionContext, settings: Settings, said: str = "") -> str:
    """Return who asked for a run, for the audit trail.

    That is the account of the session or token that started it in the console. What a configuration says is never taken
    for an account: it stays behind the account of this machine, as a remark.

    Args:
        said: `requested_by` of the run's configuration.

    Raises:
        DatabaseError: the record of requests cannot be read.
    """
    url = settings.nexus_database_url.get_secret_value()
    if account := account_of_run(context.instance, context.run, url):
        return account
    if said in AUTOMATIONS:
        return said
    return f"dagster ({operating_system_user()})" + (f": {said}" if said else "")


def account_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun, database_url: str) -> str | None:
    """Return the account that started a run in the console; None if it was not started there.

    A repetition that Dagster starts by itself has the account of the run that it repeats.
    """
    asked: dg.DagsterRun | None = run
    while asked is not None:
        if account := run_requester(database_url, asked.run_id):
            return account
        repeats = asked.parent_run_id if RETRY_NUMBER_TAG in asked.tags else None
        asked = instance.get_run_by_id(repeats) if repeats else None
    return None
