"""How an error of ours becomes one of Dagster's: its sentences, and no stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from fm_pipeline.defs.dagster_internals import DagsterUserCodeProcessError, SerializableErrorInfo
from fm_pipeline.errors import PipelineError, unforeseen
from fm_pipeline.ignored_interrupts import repeat_ignored_interrupts
from fm_pipeline.notifications.email_texts.reimport import COMMIT_SENTENCES
from fm_pipeline.notifications.send_run_emails import read_commit_status
from fm_pipeline.settings import Settings

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
    repeat_ignored_interrupts()
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
    """Return the sentence for a cancelled run: ask the database whether its transaction was committed."""
    return f"The run was cancelled. {COMMIT_SENTENCES[read_commit_status(settings, run_id).committed]}"
