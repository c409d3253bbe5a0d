"""The sentences about an error in an email: our own sentences, and nothing of what a library's error says."""

from __future__ import annotations

from fm_pipeline.errors import PipelineError

NO_STEP_FAILED = "No step reported an error: the process of the run was ended, or could not be started."


def safe_sentences(error: BaseException) -> tuple[str, ...]:
    """Return the sentences of a PipelineError; of any other error only the class, as its text may quote a record."""
    if isinstance(error, PipelineError):
        return tuple(part for part in (error.what, error.meaning, error.remedy) if part)
    return class_name_only(type(error).__name__)


def class_name_only(class_name: str) -> tuple[str, ...]:
    """Return the sentence for a library's error."""
    return (f"Error: {class_name}. What it says may hold patient data, so it is not in this email.",)
