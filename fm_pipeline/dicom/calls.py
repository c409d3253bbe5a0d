"""Requests to the import that change something: logged and audited, also when they are refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from fm_pipeline.dicom.configuration import read_configuration
from fm_pipeline.dicom.history import prune_history
from fm_pipeline.dicom.ledger import Job, request_cancel
from fm_pipeline.dicom.roots import allowed_path
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.audit import Action, audited, record
from fm_pipeline.nexus.database import connect
from fm_pipeline.settings import Settings

_log = logging.getLogger(__name__)


@contextmanager
def refusals(settings: Settings, *, actor: str, action: Action, run_id: str | None = None) -> Iterator[None]:
    """A RequestError inside goes into the audit trail and the log, and on to the caller."""
    try:
        yield
    except RequestError as error:
        _log.warning("Refused (%s): %s", action, error)
        record(
            settings.nexus_database_url.get_secret_value(),
            actor=actor,
            action=action,
            outcome="refused",
            run_id=run_id,
            detail=str(error),
        )
        raise


def asked_path(settings: Settings, path: str | None) -> str:
    """The path that was asked for, or the configured one; allowed.

    Raises:
        RequestError: neither is there, or it lies under no allowed root; nothing of it was read.
    """
    if path is None:
        with connect(settings.nexus_database_url.get_secret_value()) as connection:
            path = read_configuration(connection, settings).hospital_data_path
    if path is None:
        raise RequestError(
            "No directory was named, and none is configured.",
            remedy="Name one, or: fm-pipeline dicom configure --hospital-data-path PATH",
        )
    return allowed_path(settings, path)


def cancel_import(settings: Settings, job_id: int, *, actor: str) -> Job:
    """Ask for the end of a job: call 8.

    Raises:
        RequestError: there is no such job (404), or it has ended.
    """
    database_url = settings.nexus_database_url.get_secret_value()
    with refusals(settings, actor=actor, action="dicom_cancel"):
        job = request_cancel(database_url, job_id)
    record(database_url, actor=actor, action="dicom_cancel", outcome="done", detail=f"Job {job_id}.")
    _log.info("Job %s: its cancelling was asked for.", job_id)
    return job


def prune(settings: Settings, older_than: datetime, *, really: bool, actor: str) -> int:
    """Count, or remove, rows of history from before that moment that nothing needs any more; see `prune_history`."""
    database_url = settings.nexus_database_url.get_secret_value()
    if not really:
        return prune_history(database_url, older_than, dry_run=True)
    with audited(database_url, actor=actor, action="dicom_prune"):
        rows = prune_history(database_url, older_than, dry_run=False)
    _log.info("%d rows of history from before %s were removed.", rows, f"{older_than:%Y-%m-%d}")
    return rows
