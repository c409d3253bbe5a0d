"""What emails say, word for word; the text of a reimport's emails is tested in `test_for_the_operator.py` as well."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from fm_pipeline.errors import DicomError, PipelineError, SettingsError
from fm_pipeline.notifications.email_texts.dicom_import import directory_unreadable, import_stopped
from fm_pipeline.notifications.email_texts.email_text import EmailText, alert_body
from fm_pipeline.notifications.email_texts.maintenance import (
    body_for_users,
    maintenance_announced,
    maintenance_begun,
    maintenance_ended,
    maintenance_over,
)
from fm_pipeline.notifications.email_texts.overdue import no_longer_overdue, overdue
from fm_pipeline.notifications.email_texts.plan import plan_failed, plan_ready
from fm_pipeline.notifications.email_texts.reimport import CommitStatus, EventType, RunEvent, subject
from fm_pipeline.notifications.email_texts.restore_drill import drill_failed, drill_succeeded
from fm_pipeline.notifications.email_texts.sync import sync_committed, sync_failed, sync_undone, sync_waiting
from fm_pipeline.notifications.email_texts.why_it_failed import safe_sentences
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP

AT, LATER = datetime(2026, 5, 1, 8, 0, tzinfo=UTC), datetime(2026, 5, 2, 9, 30, tzinfo=UTC)
WRONG = SettingsError("BACKUP_KEY is not set.", remedy="Set it.")
UNREADABLE = DicomError("Alarm: The disk gave an error.", remedy="The sensor looks again.")
PLAN = {"changed_rows": 1234, "losses": ["2 notes would be deleted."]}
ALERTS = [
    plan_ready("an-id", PLAN),
    plan_failed(["Why."]),
    sync_waiting("an-id", "nexus it's", ["2 conflicts."]),
    sync_committed(3, 2, 1),
    sync_committed(0, 0, 1, at=AT),
    sync_undone(1200, made_at=AT, at=LATER),
    sync_failed(WRONG),
    drill_succeeded("3 rows came back.", ["A column is new."]),
    drill_failed(WRONG),
    overdue("new DICOM file", 48, "There was none yet."),
    no_longer_overdue("new DICOM file"),
    directory_unreadable(UNREADABLE),
    import_stopped(7, "timeout", "It stopped.", files=3, marked=False, others_go_on=False, retries=5),
]


def test_a_plan_that_is_ready_says_what_would_change_and_that_nothing_has() -> None:
    assert plan_ready("an-id", PLAN) == EmailText(
        "Plan ready: 1,234 rows of Nexus would change",
        [
            "The plan of a reimport from FileMaker into Nexus is ready: 1,234 rows of Nexus would change. Nexus is"
            " unchanged.",
            "",
            "2 notes would be deleted.",
            "",
            "Read the plan. Nothing is carried out before an administrator has confirmed it.",
            "The plan holds until FileMaker or Nexus changes. Then make a new one.",
            "",
            "Plan: an-id",
        ],
    )
    assert plan_ready("an-id", PLAN | {"changed_rows": 0}).subject == "Plan ready: no reimport is needed"


def test_a_plan_that_failed_says_why() -> None:
    first = "The plan that a schedule makes has failed. There is no new plan."
    assert plan_failed(("Why.", "What to do.")) == (
        "Plan failed: Nexus is unchanged",
        [first, "", "Why.", "What to do."],
    )


def test_a_sync_says_what_it_has_changed_and_what_stays() -> None:
    assert sync_committed(1, 2, 3) == (
        "The sync has changed Nexus",
        ["1 row of Nexus.", "2 values and rows of Nexus stay."],
    )
    assert sync_committed(0, 1, 3, at=AT) == (
        "The sync is carried out, and Nexus stays as it was",
        [
            "No row was changed: 3 conflicts were confirmed.",
            "1 value or row of Nexus stays.",
            "It was committed at 2026-05-01 08:00 UTC.",
        ],
    )


def test_a_sync_that_waits_says_why_and_gives_the_command_that_lets_it_go_on() -> None:
    assert sync_waiting("an-id", "nexus 12", ["2 conflicts."]) == (
        "The sync is waiting",
        [
            "2 conflicts.",
            "Nexus is unchanged. Read what waits in the console or with fm-pipeline sync --show an-id. To carry it out:"
            " fm-pipeline sync --plan an-id --confirm 'nexus 12'",
        ],
    )


def test_a_sync_that_was_undone_says_when() -> None:
    assert sync_undone(1, made_at=AT, at=LATER) == (
        "The sync was undone",
        [
            "1 row of Nexus is again as before the sync of 2026-05-01 08:00 UTC.",
            "It was undone at 2026-05-02 09:30 UTC. The next sync keeps and lists these rows.",
        ],
    )


def test_what_failed_is_told_in_our_sentences_and_a_librarys_error_by_its_class_alone() -> None:
    why = ("BACKUP_KEY is not set.", "Nothing was sent with it.", "Set it.")
    assert sync_failed(WRONG) == ("The sync has failed", why)
    assert drill_failed(WRONG) == ("Restore drill FAILED", why)
    assert safe_sentences(PipelineError("It failed.")) == ("It failed.",)
    (sentence,) = drill_failed(ValueError("Jane Doe")).sentences
    assert sentence == "Error: ValueError. What it says may hold patient data, so it is not in this email."


def test_a_drill_that_succeeded_says_what_it_has_shown() -> None:
    assert drill_succeeded("3 rows came back.", ("A column is new.",)) == (
        "Restore drill succeeded",
        ["3 rows came back.", "A column is new."],
    )


def test_what_is_overdue_is_told_and_that_it_has_come() -> None:
    assert overdue("plan or reimport", 1, "There was none yet.") == (
        "Overdue: no plan or reimport for 1 hour",
        ["There was none yet.", "Look whether Dagster's daemon and its schedules run."],
    )
    assert no_longer_overdue("DICOM import") == (
        "No longer overdue: a DICOM import has come",
        ["A DICOM import has come again."],
    )


@pytest.mark.parametrize(
    ("marked", "others_go_on", "words"),
    [
        (False, False, "on record. Nothing was marked as missing, and nothing new is imported meanwhile; it is"),
        (False, True, "on record. Nothing was marked as missing, and new files are imported meanwhile; it is"),
        (True, False, "on record, and nothing new is imported meanwhile; it is"),
    ],
)
def test_an_import_that_stopped_says_what_goes_on_meanwhile(marked: bool, others_go_on: bool, words: str) -> None:
    told = import_stopped(7, "timeout", "Slow.", files=3, marked=marked, others_go_on=others_go_on, retries=5)
    assert told.subject == "DICOM import 7 has stopped (timeout)"
    assert list(told.sentences) == [
        "Import job 7 of the sensor has stopped: Slow.",
        f"3 files {words} tried again by itself, up to 5 times.",
        "To see it: fm-pipeline dicom status 7",
    ]


def test_a_directory_that_cannot_be_read_is_told_as_in_the_tick() -> None:
    assert directory_unreadable(UNREADABLE) == (
        "DICOM import: the watched directory cannot be read",
        ("Alarm: The disk gave an error.", "The sensor looks again."),
    )


def test_an_alert_ends_with_who_can_act_the_time_the_page_and_help() -> None:
    said = "\nOnly the person who runs the server can change settings (BACKUP_KEY).\n"
    ends = "Page: http://c.example/x\nHelp: IT\n"
    whole = alert_body(["Set BACKUP_KEY."], at=AT, page="http://c.example/x", contact="IT")
    assert whole == f"Set BACKUP_KEY.\n{said}\nTime: 2026-05-01 08:00:00 UTC\n{ends}"
    assert alert_body(["One."], at=AT, page=None, contact=None) == "One.\n\nTime: 2026-05-01 08:00:00 UTC\n"


def test_users_are_told_what_they_can_do_meanwhile_and_afterwards() -> None:
    assert body_for_users(maintenance_begun(AT), "IT") == (
        "Data is being imported from FileMaker into Nexus.\n"
        "Until it has ended, Nexus can be read, and saving a patient waits.\n"
        "An email follows then.\n\nTime: 2026-05-01 08:00 UTC\n\nHelp: IT\n"
    )
    ends = {
        CommitStatus(True): "Nexus has the new data. Reload the pages that you have open.",
        CommitStatus(False): "The data was not imported: Nexus is as it was before.",
        CommitStatus(None): "Whether Nexus has the new data is being looked into. Please wait for the next email before"
        " you go on.",
        CommitStatus(True, undone=True): "Nexus has the data of before again. Reload the pages that you have open.",
    }
    for outcome, sentence in ends.items():
        text = body_for_users(maintenance_ended(AT, outcome), None)
        assert text == f"The maintenance of Nexus has ended.\n{sentence}\n\nTime: 2026-05-01 08:00 UTC\n"
    announced = maintenance_announced(AT, 45)
    assert announced.subject == "Nexus: maintenance on 2026-05-01 at 08:00"
    assert body_for_users(announced, None) == (
        "On 2026-05-01 at 08:00 UTC data will be imported from FileMaker into Nexus. This takes about 45 minutes.\n"
        "Until it has ended, Nexus can be read, and saving a patient waits.\nPlease save your work before then.\n"
    )
    over = "The maintenance of Nexus is over.\nReload the pages that you have open.\n"
    assert body_for_users(maintenance_over(), None) == over


def test_the_administrators_page_explains_every_subject_and_no_other() -> None:
    page = (TOP / "docs" / "administrator.md").read_text(encoding="utf-8")
    table = page.partition("## What the emails mean")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| (?!subject|-)(.+?) \|", table, re.MULTILINE)
    new, unknown = CommitStatus(True), CommitStatus(None)
    outcomes = {
        EventType.STARTED: [unknown],
        EventType.SUCCEEDED: [new, CommitStatus(True, {"changed_rows": 0}), CommitStatus(True, undone=True), unknown],
        EventType.FAILED: [CommitStatus(False), new, CommitStatus(True, undone=True), unknown],
        EventType.CANCELLED: [CommitStatus(False), new, unknown],
    }
    subjects = [subject(RunEvent("run", event, AT, each)) for event, ends in outcomes.items() for each in ends]
    subjects += [text.subject for text in ALERTS]
    assert explained

    def explains(row: str, told: str) -> bool:
        return re.match(re.escape(row).replace("…", ".+"), told) is not None

    assert [told for told in subjects if not any(explains(row, told) for row in explained)] == []
    assert [row for row in explained if not any(explains(row, told) for told in subjects)] == []
