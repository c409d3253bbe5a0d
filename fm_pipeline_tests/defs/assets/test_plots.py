"""Pictures for the UI: what they say, to the character."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fm_pipeline.defs.assets.plots import (
    NARROW,
    SHORT,
    SHOWN_AT_ONCE,
    WIDTH,
    bar,
    changes_by_table,
    containers_used,
    images_by_category,
    images_by_year,
    not_loaded_by_rule,
    phase_seconds,
    rows_by_table,
)
from fm_pipeline.images.nexus.statistics import ImageStatistics
from fm_pipeline.nexus.reimport.relink import RelinkResult
from fm_pipeline.nexus.reimport.report import PhaseRecord, ReimportReport, SourceOutcomes, TableChange


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
        SourceOutcomes("patient", 10, 8, 2, 0, {"patient.no_name": 2}),
        SourceOutcomes("note", 3000, 1000, 0, 2000, {"note.empty": 2000}),
    ]
    lines = not_loaded_by_rule(sources).splitlines()
    assert lines[2] == f"| note: note.empty | 2,000 | {'█' * SHORT} |"
    assert lines[3] == "| patient: patient.no_name | 2 | ▏ |"


def test_when_every_row_is_loaded_it_says_so() -> None:
    assert not_loaded_by_rule([SourceOutcomes("patient", 10, 10, 0, 0)]) == "Every row is loaded."


def test_of_one_entity_the_rules_are_enough() -> None:
    assert not_loaded_by_rule([SourceOutcomes("note", 3, 1, 2, 0, {"no_text": 2})]).endswith(
        f"| no_text | 2 | {'█' * SHORT} |"
    )


def test_a_chart_stays_short_enough_for_the_ui_and_loses_no_row() -> None:
    rules = {f"a_rule_with_a_long_name_{number:03}": number for number in range(1, 101)}
    chart = not_loaded_by_rule([SourceOutcomes("note", 9000, 0, 5050, 0, rules)])
    assert len(chart) <= SHOWN_AT_ONCE
    lines = chart.splitlines()[2:]
    assert sum(int(line.split("|")[2].replace(",", "")) for line in lines) == 5050
    assert f"| and {101 - len(lines)} more |" in lines[-1]


@pytest.fixture
def report() -> ReimportReport:
    made = ReimportReport("id", None, datetime(2025, 11, 20, tzinfo=UTC))
    made.tables["patients"] = TableChange("patients", before=2842, deleted=1, inserted=2, updated=3)
    return made


def test_what_becomes_of_each_table(report: ReimportReport) -> None:
    assert changes_by_table(report).splitlines()[2] == "| patients | 1 | 2 | 3 |"


def test_what_is_done_adds_up_to_the_rows_that_change_also_where_only_files_and_references_do(
    report: ReimportReport,
) -> None:
    report.batches = RelinkResult(total=1661, already=1479, by_evidence={"a": 180, "b": 2})
    report.documents = RelinkResult(total=10, already=10)
    report.references.append({"table": "core_bookmark", "column": "x", "to": "y", "repointed": 4, "set_to_null": 1})
    lines = changes_by_table(report).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert sum(int(number) for row in cells for number in row[1:4]) == report.changed_rows == 6 + 182 + 5
    assert cells[1:] == [
        ["image batches, relinked", "0", "0", "182"],
        ["references in other tables", "0", "0", "5"],
    ]


def test_the_numbers_that_are_plotted_over_runs_have_stable_names(report: ReimportReport) -> None:
    assert rows_by_table(report) == {"rows_patients": 2843}


def test_images_are_drawn_by_year_and_category() -> None:
    statistics = ImageStatistics(30, 9, 4, {"2016": 10, "2017": 20}, {"Left | Dorsal": 20, "*none*": 10})
    assert images_by_year(statistics).splitlines()[2:] == [
        f"| 2016 | 10 | {bar(10, 20, NARROW)} |",
        f"| 2017 | 20 | {bar(20, 20, NARROW)} |",
    ]
    assert images_by_category(statistics).splitlines()[2] == f"| Left \\| Dorsal | 20 | {bar(20, 20, NARROW)} |"
    assert images_by_category(statistics).splitlines()[3].startswith("| \\*none\\* | 10 |")


def test_containers_come_with_their_share() -> None:
    chart = containers_used({"image_Full": 3, "image_small": 1})
    assert "(75.0%) | 3 |" in chart
    assert "(25.0%) | 1 |" in chart
    assert containers_used({}) == ""


def test_many_years_and_long_categories_stay_short_enough_for_the_ui() -> None:
    years = {str(year): year for year in range(1950, 2026)}
    categories = {f"{letter * 50}": 7 for letter in "abcdefghijklmnopqrstuvwxyz"}
    statistics = ImageStatistics(1, 1, 1, years, categories)
    assert len(images_by_year(statistics)) <= SHOWN_AT_ONCE
    assert len(images_by_category(statistics)) <= SHOWN_AT_ONCE
    assert "more |" in images_by_category(statistics)
