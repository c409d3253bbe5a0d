"""How errors reach Dagster, whose event log keeps them."""

from __future__ import annotations

import traceback

import dagster as dg
import pytest

from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.errors import LockStop


def test_an_error_of_ours_keeps_its_sentences() -> None:
    with pytest.raises(dg.Failure) as caught, explained():
        raise LockStop("Somebody else works there.", meaning="Nothing was changed.", remedy="Wait.")
    assert {name: value.value for name, value in caught.value.metadata.items()} == {
        "what happened": "Somebody else works there.",
        "what it means": "Nothing was changed.",
        "what to do": "Wait.",
    }
    assert not caught.value.allow_retries


def test_an_error_that_nobody_foresaw_is_told_by_its_class_and_place_and_not_by_its_text() -> None:
    typed = "0491 837 264 Zebedee"
    with pytest.raises(dg.Failure) as caught, explained():
        int(typed)
    shown = "".join(traceback.format_exception(caught.value)) + str(caught.value.metadata)
    assert "ValueError" in shown
    assert "test_explained_failure.py" in str(caught.value)
    assert "0491" not in shown


def test_a_cancel_stays_one_and_says_that_nexus_is_unchanged() -> None:
    with pytest.raises(dg.DagsterExecutionInterruptedError, match="Nexus is unchanged"), explained():
        raise dg.DagsterExecutionInterruptedError


def test_a_step_that_writes_to_nexus_says_itself_what_a_cancel_has_left() -> None:
    with (
        pytest.raises(dg.DagsterExecutionInterruptedError, match="Nexus has the new data"),
        explained(lambda: "The run was cancelled. Nexus has the new data."),
    ):
        raise dg.DagsterExecutionInterruptedError
