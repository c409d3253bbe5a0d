"""What all assets share: names, owners, the pool, and how an error of ours becomes one of Dagster's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from fm_pipeline.defs.registry import entities
from fm_pipeline.entities.registry import staged
from fm_pipeline.errors import PipelineError, unforeseen
from fm_pipeline.notifications.message import COMMIT_SENTENCES
from fm_pipeline.notifications.run_emails import read_commit_status
from fm_pipeline.settings import Settings

OWNERS = ["team:clinic-data"]
# Serialises whole runs (dagster.yaml sets the granularity): two of them would fight over the staging tables.
POOL = "nexus"
EXTRACT, STAGE, BACKUP, PLAN = "phase_0_filemaker", "phase_0_staging", "phase_0_backup", "phase_0_plan"
IMAGE_LINK = "image_link"
PREFLIGHT, CONFIGURATION = "phase_0_preflight", "phase_1_system_configuration"
IMAGE_FILES = "phase_7_image_files"

# Source entity -> the plural that assets are called by.
ENTITIES = {name: entity.plural for name, entity in entities().items()}

STAGED_ASSETS = [f"staged_{entity.plural}" for entity in staged(entities())]


UNCHANGED = "The run was cancelled. Nexus is unchanged: this step does not write to its tables."


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
        raise dg.Failure(str(error), metadata=metadata, allow_retries=False) from None


def cancelled_reimport(settings: Settings, run_id: str) -> str:
    """What is said of a cancelled run whose transaction may have been committed: the database is asked."""
    return f"The run was cancelled. {COMMIT_SENTENCES[read_commit_status(settings, run_id).committed]}"


def row_count(rows: int, **more: Any) -> dict[str, Any]:
    """Metadata with the row count where Dagster looks for it (it plots it over runs)."""
    return {"dagster/row_count": rows, **more}
