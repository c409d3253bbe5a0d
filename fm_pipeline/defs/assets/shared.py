"""What all assets share: names, owners, the pool, and how an error of ours becomes one of Dagster's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from fm_pipeline.db.audit import operating_system_user
from fm_pipeline.db.run_requests import run_requester
from fm_pipeline.defs.dagster_internals import (
    RETRY_NUMBER_TAG,
    DagsterUserCodeProcessError,
    SerializableErrorInfo,
)
from fm_pipeline.defs.registry import entities
from fm_pipeline.dicom.history.jobs import SENSOR
from fm_pipeline.entities.registry import staged
from fm_pipeline.errors import PipelineError, unforeseen
from fm_pipeline.notifications.console_pages import console_address
from fm_pipeline.notifications.run_email_text import COMMIT_SENTENCES
from fm_pipeline.notifications.send_run_emails import read_commit_status
from fm_pipeline.settings import Settings

OWNERS = ["team:clinic-data"]
# Serialises whole runs (dagster.yaml sets the granularity): two of them would fight over the staging tables.
POOL = "nexus"
EXTRACT, STAGE, BACKUP, PLAN = "phase_0_filemaker", "phase_0_staging", "phase_0_backup", "phase_0_plan"
IMAGE_LINK = "image_link"
PREFLIGHT, CONFIGURATION = "phase_0_preflight", "phase_1_system_configuration"
IMAGE_FILES = "phase_7_image_files"
NIGHTLY_DICOM = "nightly_dicom_import"
# What asks for runs by itself. None of these is an account of Nexus.
AUTOMATIONS = {SENSOR, NIGHTLY_DICOM}
REMARK = "A remark on who asks. The audit trail takes the account that started the run in the console."

# Source entity -> the plural that assets are called by.
ENTITIES = {name: entity.plural for name, entity in entities().items()}

STAGED_ASSETS = [f"staged_{entity.plural}" for entity in staged(entities())]


# The run tag that a plan's run and the runs that carry it out have in common: a click on it lists them.
PLAN_TAG = "fm_pipeline/plan"

UNCHANGED = "The run was cancelled. Nexus is unchanged: this step does not write to its tables."


class _WithoutStack(DagsterUserCodeProcessError):
    """Shown by Dagster with its text alone: the stack names our code, and says nothing about what to do."""

    def __init__(self, text: str) -> None:
        shown = SerializableErrorInfo(f"{text}\n", [], "Failure")
        super().__init__(text, user_code_process_error_infos=[shown])  # type: ignore[no-untyped-call]


class ExplainedFailure(dg.Failure, _WithoutStack):
    """A failure that Dagster's pages show as the sentences of our own error."""


@contextmanager
def explained(cancelled: Callable[[], str] = lambda: UNCHANGED) -> Iterator[None]:
    """Every error as a Failure with its sentences as metadata; no retry, since none of them passes by itself.

    Of an error that is not ours the text is left out: it may quote a record, and Dagster's event log keeps it. A cancel
    stays what it is to Dagster, with a sentence in the place where people look for one.

    Args:
        cancelled: says whether Nexus was changed, when the run was cancelled; for a step that writes to it.
    """
    try:
        yield
    except dg.DagsterExecutionInterruptedError:
        raise dg.DagsterExecutionInterruptedError(cancelled()) from None
    except Exception as fault:  # noqa: BLE001  # told without its text
        error = fault if isinstance(fault, PipelineError) else unforeseen(fault)
        sentences = {"what happened": error.what, "what it means": error.meaning, "what to do": error.remedy}
        metadata = {key: dg.MetadataValue.text(text) for key, text in sentences.items() if text}
        raise ExplainedFailure(str(error), metadata=metadata, allow_retries=False) from None


def cancelled_reimport(settings: Settings, run_id: str) -> str:
    """What is said of a cancelled run whose transaction may have been committed: the database is asked."""
    return f"The run was cancelled. {COMMIT_SENTENCES[read_commit_status(settings, run_id).committed]}"


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


def console_link(settings: Settings, page: str) -> dict[str, Any]:
    """Metadata that leads to a page of the console; none without CONSOLE_URL."""
    address = console_address(settings, page)
    return {"console_page": dg.MetadataValue.url(address)} if address else {}


def row_count(rows: int, **more: Any) -> dict[str, Any]:
    """Metadata with the row count where Dagster looks for it (it plots it over runs)."""
    return {"dagster/row_count": rows, **more}
