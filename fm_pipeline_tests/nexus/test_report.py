"""What a person who decides about a plan gets to see."""

from __future__ import annotations

from rich.console import Console

from fm_pipeline.nexus.report import ReimportReport
from fm_pipeline.report_terminal import report_lines
from fm_pipeline_tests.bench.clinics import RUN_TIME


def test_a_report_shows_which_rows_of_other_tables_lose_their_patient_or_are_led_to_another_row() -> None:
    report = ReimportReport("an-id", None, RUN_TIME)
    reference = {"table": "xero_contact_links", "column": "patient_id", "to": "patients"}
    report.references.append({**reference, "repointed": 3, "set_to_null": 2})
    assert "| xero_contact_links.patient_id | patients | 3 | 2 |" in report.as_markdown()
    console = Console(width=80)
    with console.capture() as shown:
        console.print(*report_lines(report.as_dict()), sep="\n")
    (line,) = [line for line in shown.get().splitlines() if "xero_contact_links" in line]
    assert line.split() == ["xero_contact_links.patient_id", "patients", "3", "2"]


def test_a_report_without_such_rows_has_no_empty_table_of_them() -> None:
    assert "emptied" not in ReimportReport("an-id", None, RUN_TIME).as_markdown()
