"""Pictures for the UI: what they say, to the character."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fm_pipeline.assets.plots import WIDTH, bar, not_loaded_by_rule, phase_seconds, table_numbers
from fm_pipeline.nexus.report import PhaseRecord, ReimportReport, SourceEnds, TableChange


@pytest.mark.parametrize(
    ("value", "length"), [(100, WIDTH), (50, WIDTH / 2), (0, 0), (1, 1), (0.001, 1), (99.9, WIDTH)]
)
def test_a_bar_is_as_long_as_its_share_and_never_nothing_for_something(value: float, length: float) -> None:
    assert len(bar(value, 100)) == length


def test_without_anything_to_show_there_is_no_bar() -> None:
    assert bar(0, 0) == ""


def test_seconds_by_phase() -> None:
    report = ReimportReport("id", None, datetime(2025, 11, 20, tzinfo=UTC))
    report.phases += [PhaseRecord(2, "Deleted", 3, 0.5), PhaseRecord(8, "Passed", 1, 1.0)]
    assert phase_seconds(report).splitlines() == [
        "| phase | seconds | |",
        "|---|---:|---|",
        f"| 2 delete | 0.50 | {'█' * 15} |",
        f"| 8 validation | 1.00 | {'█' * 30} |",
    ]


def test_rows_that_are_not_loaded_by_the_rule_that_decided_most_first() -> None:
    sources = [
        SourceEnds("patient", 10, 8, 2, 0, {"patient.no_name": 2}),
        SourceEnds("note", 3000, 1000, 0, 2000, {"note.empty": 2000}),
    ]
    lines = not_loaded_by_rule(sources).splitlines()
    assert lines[2] == f"| note: note.empty | 2,000 | {'█' * 30} |"
    assert lines[3] == "| patient: patient.no_name | 2 | ▏ |"


def test_when_every_row_is_loaded_it_says_so() -> None:
    assert not_loaded_by_rule([SourceEnds("patient", 10, 10, 0, 0)]) == "Every row is loaded."


def test_the_numbers_that_are_plotted_over_runs_have_stable_names() -> None:
    report = ReimportReport("id", None, datetime(2025, 11, 20, tzinfo=UTC))
    report.tables["patients"] = TableChange("patients", before=10, deleted=1, inserted=2, updated=3)
    assert table_numbers(report) == {
        "patients/rows": 11,
        "patients/deleted": 1,
        "patients/inserted": 2,
        "patients/updated": 3,
    }
