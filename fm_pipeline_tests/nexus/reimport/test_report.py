"""What a person who decides about a plan gets to see."""

from __future__ import annotations

import re

from rich.console import Console

from fm_pipeline.defs.assets.plots import SHOWN_AT_ONCE, changes_by_table, losses_on_top
from fm_pipeline.nexus.reimport.losses import losses
from fm_pipeline.nexus.reimport.relink import RelinkResult
from fm_pipeline.nexus.reimport.report import ReimportReport, TableChange
from fm_pipeline.sequence.report_terminal import report_lines
from fm_pipeline_tests.support.clinics import RUN_TIME


def on_terminal(report: ReimportReport) -> str:
    console = Console(width=80)
    with console.capture() as shown:
        console.print(*report_lines(report.as_dict()), sep="\n")
    return shown.get()


def test_losses_of_other_tables_are_the_first_line_of_every_report() -> None:
    report = ReimportReport("an-id", None, RUN_TIME)
    reference = {"table": "invoices", "column": "appointment_id", "to": "appointments", "repointed": 0}
    report.tables["patients"] = TableChange("patients", before=9, deleted=2)
    report.references += [reference | {"set_to_null": 3, "column": "other_id"}, reference | {"set_to_null": 1110}]
    sentence = "1,110 rows of invoices would lose their appointment: appointment_id would be emptied."
    assert report.losses[0] == sentence
    assert report.losses[-1] == "2 patients would be deleted. Their records are gone from FileMaker."
    assert report.as_markdown().startswith(f"- {sentence}\n")
    assert " ".join(on_terminal(report).split()).startswith(sentence)
    assert losses_on_top(report).startswith(f"- {sentence}\n")
    assert report.as_dict()["losses"][0] == sentence


def test_a_dry_run_says_what_would_happen_and_a_reimport_what_happened() -> None:
    report = ReimportReport("an-id", None, RUN_TIME)
    report.tables["notes"] = TableChange("notes", 9, deleted=1, inserted=2, updated=3, reset=4, kept_out=1)
    report.tables["reminders"] = TableChange("reminders", 9, deleted=9, without_filemaker_id=9)
    report.documents = RelinkResult(total=10, already=7, by_evidence={"a": 3})
    reference = {"table": "invoices", "column": "note_id", "to": "notes", "repointed": 1, "set_to_null": 1}
    report.references.append(reference)

    def shown() -> list[str]:
        return [report.as_markdown(), on_terminal(report), changes_by_table(report), str(report.losses)]

    for text in shown():
        assert "would be" in text
        assert not re.search(r"\b(was|were|lost)\b", text)
    report.committed = True
    for text in shown():
        assert "would" not in text


def test_many_losses_stay_short_enough_for_the_ui_and_none_is_passed_over_in_silence() -> None:
    report = ReimportReport("an-id", None, RUN_TIME)
    for number in range(40):
        reference = {"table": f"table_{number}", "column": "patient_id", "to": "patients", "repointed": 0}
        report.references.append(reference | {"set_to_null": 100 - number})
    shown = losses_on_top(report)
    assert len(shown) <= SHOWN_AT_ONCE
    named = shown.count(" would lose ")
    assert f"- and {40 - named} more; " in shown


def test_a_deletion_says_why_for_each_part_of_its_rows() -> None:
    report = ReimportReport("an-id", None, RUN_TIME)
    report.tables["notes"] = TableChange("notes", before=9, deleted=6, without_filemaker_id=1, kept_out=2)
    assert report.losses == [
        "6 notes would be deleted. FileMaker has no record of 1 of them and cannot bring it back."
        " FileMaker still has 2 of them, but a rule keeps them out. The records of 3 of them are gone from FileMaker."
    ]
    report.tables["notes"] = TableChange("notes", before=9, deleted=1, kept_out=1)
    assert "gone" not in report.losses[0]
    earlier = report.as_dict() | {"tables": [{"table": "notes", "deleted": 2, "without_filemaker_id": 0}]}
    assert losses(earlier) == ["2 notes would be deleted."], "an earlier release did not count what a rule keeps out"


def test_a_duplicate_is_not_said_to_be_gone_from_filemaker() -> None:
    report = ReimportReport("an-id", None, RUN_TIME)
    report.tables["patients"] = TableChange("patients", before=9, deleted=1, replaced=1)
    assert report.losses == [
        "1 patient would be deleted. It is a duplicate: FileMaker's record is loaded as another row."
    ]
    report.tables["patients"] = TableChange("patients", before=9, deleted=6, kept_out=1, replaced=2)
    assert report.losses == [
        "6 patients would be deleted. FileMaker still has 1 of them, but a rule keeps it out."
        " 2 of them are duplicates: FileMaker's records are loaded as other rows."
        " The records of 3 of them are gone from FileMaker."
    ]
    report.tables["patients"] = TableChange("patients", before=9, deleted=3, replaced=1, without_filemaker_id=2)
    assert " 1 of them is a duplicate: FileMaker's record is loaded as another row." in report.losses[0]
    assert "gone" not in report.losses[0]


def test_nothing_lost_is_said_too() -> None:
    report = ReimportReport("an-id", None, RUN_TIME)
    assert report.losses == ["No row would be deleted, and none would lose a value."]


def test_a_report_shows_which_references_of_other_tables_are_set_to_null_or_repointed() -> None:
    report = ReimportReport("an-id", None, RUN_TIME)
    reference = {"table": "xero_contact_links", "column": "patient_id", "to": "patients"}
    report.references.append({**reference, "repointed": 3, "set_to_null": 2})
    assert "| xero_contact_links.patient_id | patients | 3 | 2 |" in report.as_markdown()
    lines = [line for line in on_terminal(report).splitlines() if "xero_contact_links.patient_id" in line]
    assert [line.split() for line in lines] == [["xero_contact_links.patient_id", "patients", "3", "2"]]


def test_a_report_without_such_rows_has_no_empty_table_of_them() -> None:
    assert "emptied" not in ReimportReport("an-id", None, RUN_TIME).as_markdown()
