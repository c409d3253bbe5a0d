"""An administrator is told who can do what is advised."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import fm_pipeline.console
from fm_pipeline.nexus.reimport.report import ReimportReport, TableChange
from fm_pipeline.notifications.email_texts.reimport import CommitStatus, EventType, RunEvent, body, subject
from fm_pipeline.notifications.for_the_operator import who_can_do_it
from fm_pipeline.settings import Settings

TEMPLATES = sorted((Path(fm_pipeline.console.__file__).parent / "templates").rglob("*.html"))


def test_a_setting_and_a_command_are_for_the_person_who_runs_the_server() -> None:
    advice = "To keep them, set NEXUS_LETTERS=keep before the dry run."
    assert who_can_do_it(advice) == "Only the person who runs the server can change settings (NEXUS_LETTERS)."
    several = who_can_do_it("Check ORTHANC_URL.", "Then ORTHANC_URL and S3_BUCKET; fm-pipeline check says more.")
    assert several == (
        "Only the person who runs the server can change settings (ORTHANC_URL, S3_BUCKET) and run commands"
        " (fm-pipeline)."
    )


def test_what_names_neither_or_says_it_already_needs_no_such_sentence() -> None:
    for text in ("Correct it in FileMaker. NO_ACCESS and PATIENT_ID are not ours.", ""):
        assert who_can_do_it(text) == ""
    assert who_can_do_it("The person who runs the server can turn it on (setting SMTP_HOST).") == ""


def test_an_email_says_it_of_what_is_lost_and_of_why_it_failed() -> None:
    report = ReimportReport("an-id", None, datetime(2026, 1, 2, tzinfo=UTC))
    report.tables["reminders"] = TableChange("reminders", before=9, deleted=9, without_filemaker_id=9)
    started = RunEvent("run", EventType.STARTED, report.started_at, CommitStatus(None, report.as_dict()))
    assert "person who runs the server can change settings (NEXUS_REMINDERS)." in body(started)
    failed = RunEvent("run", EventType.FAILED, report.started_at, CommitStatus(False), ("Check FILEMAKER_URL.",))
    assert "person who runs the server can change settings (FILEMAKER_URL)." in body(failed)
    cancelled = RunEvent("run", EventType.CANCELLED, report.started_at, CommitStatus(False))
    assert "person who runs the server" not in body(cancelled)


def test_an_email_about_a_reimport_without_a_row_to_change_does_not_speak_of_new_data() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    report = ReimportReport("an-id", None, at).as_dict()
    for rows, words in ((0, "Nexus had what FileMaker has already"), (1, "Nexus has the new data")):
        done = RunEvent("run", EventType.SUCCEEDED, at, CommitStatus(True, report | {"changed_rows": rows}))
        assert subject(done) == f"Reimport succeeded: {words} (run run)"
        assert f"Its transaction was committed: {words}." in body(done)


def test_a_page_that_names_a_setting_itself_says_who_changes_it() -> None:
    names = {name.upper() for name in Settings.model_fields}
    named = 0
    for template in TEMPLATES:
        for sentence in re.split(r"(?<=[.>])\s", template.read_text("utf-8")):
            if names & set(re.findall(r"[A-Z][A-Z0-9_]+", sentence)):
                named += 1
                assert "erson who runs the server" in sentence, (template.name, sentence)
    assert named
