"""What the users of Nexus are told, through the real catcher."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.template import Context, Engine

from fm_pipeline.errors import RequestError
from fm_pipeline.notifications.email_texts.maintenance import maintenance_ended
from fm_pipeline.notifications.email_texts.reimport import CommitStatus, EventType
from fm_pipeline.notifications.maintenance import announce_end, announce_maintenance
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.notifications.send_run_emails import enqueue_run_email, run_emails, send_due_emails
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.mail import mail_settings, mails_of, text_of
from fm_pipeline_tests.support.services import LazyStack

USERS = "reception@clinic.example, doctors@clinic.example"
NOW = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)


def never(message: str) -> None:
    pytest.fail(message)


@pytest.fixture
def catcher(stack: LazyStack) -> SmtpService:
    return stack.mail


@pytest.fixture
def settings(tmp_path: Path, catcher: SmtpService) -> Settings:
    more = {"console_maintenance_mails": USERS, "support_contact": "Clinic IT, extension 200"}
    return mail_settings(tmp_path / "state", catcher.port, **more)


def test_users_are_told_before_and_after_a_reimport_beside_the_administrators(
    settings: Settings, catcher: SmtpService
) -> None:
    run_id = str(uuid.uuid4())

    def fail() -> None:
        with run_emails(settings, run_id, warn=never):
            assert [mail["To"] for mail in mails_of(catcher, run_id)] == [settings.smtp_to, USERS]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    users = [text_of(mail) for mail in mails_of(catcher, run_id) if mail["To"] == USERS]
    others = [text_of(mail) for mail in mails_of(catcher, run_id) if mail["To"] != USERS]
    assert [text.partition("\n")[0] for text in users] == [
        "Nexus: maintenance has begun",
        "Nexus: maintenance has ended",
    ]
    assert "saving a patient waits" in users[0]
    assert "being looked into" in users[1], "the database of these settings does not answer"
    assert all("Help: Clinic IT, extension 200" in text for text in [*users, others[1]])
    assert "Help:" not in others[0], "a start is no failure"
    assert run_id not in "".join(users)


def test_of_an_end_only_those_hear_who_were_told_of_the_beginning(settings: Settings, catcher: SmtpService) -> None:
    never_begun, not_sent = str(uuid.uuid4()), str(uuid.uuid4())
    enqueue_run_email(settings, never_begun, EventType.FAILED, in_dagster=False)
    enqueue_run_email(settings, not_sent, EventType.STARTED, in_dagster=False)
    enqueue_run_email(settings, not_sent, EventType.SUCCEEDED, in_dagster=False)
    send_due_emails(settings, warn=never, patience_seconds=60)
    for run_id in (never_begun, not_sent):
        assert [mail["To"] for mail in mails_of(catcher, run_id)] == [settings.smtp_to]


def test_users_do_not_hear_of_new_data_if_a_reimport_had_no_row_to_change() -> None:
    for rows, undone, words in (
        (1, False, "Nexus has the new data"),
        (0, False, "No row of Nexus had to be changed"),
        (0, True, "has the data of before again"),
    ):
        told = str(maintenance_ended(NOW, CommitStatus(True, {"changed_rows": rows}, undone)))
        assert words in told
        assert ("new data" in told) == (rows > 0)


def test_a_maintenance_is_announced_in_the_clinics_time(settings: Settings, catcher: SmtpService) -> None:
    now = NOW + timedelta(microseconds=int(uuid.uuid4()) % 1_000_000)
    announce_maintenance(settings, now + timedelta(hours=3), 45, now=now)
    announce_end(settings, now=now + timedelta(hours=4))
    assert send_due_emails(settings, warn=never, patience_seconds=60) == 2
    mails = mails_of(catcher, f"maintenance-{now:%Y%m%dT%H%M%S.%f}") + mails_of(catcher, "maintenance-20260501T12")
    first, last = text_of(mails[0]), text_of(mails[-1])
    assert first.startswith("Nexus: maintenance on 2026-05-01 at 21:00\n")
    assert "about 45 minutes" in first
    assert "is over" in last
    assert {mail["To"] for mail in mails} == {USERS}


def test_no_announcement_is_made_that_nobody_would_get_or_that_is_late(settings: Settings) -> None:
    with pytest.raises(RequestError, match="CONSOLE_MAINTENANCE_MAILS not set"):
        announce_end(settings.model_copy(update={"console_maintenance_mails": None}), now=NOW)
    with pytest.raises(RequestError, match="passed"):
        announce_maintenance(settings, NOW - timedelta(hours=1), 5, now=NOW)
    assert Outbox(settings.state_dir).count_unsent() == 0


def test_an_outbox_of_an_earlier_release_gets_the_new_column(settings: Settings, catcher: SmtpService) -> None:
    settings.state_dir.mkdir(mode=0o700)
    with closing(sqlite3.connect(settings.state_dir / "mails.sqlite")) as old, old:
        old.execute(
            "CREATE TABLE mails (run_id text NOT NULL, kind text NOT NULL, subject text NOT NULL, body text NOT NULL,"
            " state text NOT NULL DEFAULT 'waiting', attempts integer NOT NULL DEFAULT 0,"
            " next_attempt_at real NOT NULL, PRIMARY KEY (run_id, kind))"
        )
        old.execute("INSERT INTO mails VALUES ('of-an-earlier-release', 'alarm', 'Old', 'Text', 'waiting', 0, 0)")
    announce_end(settings, now=NOW)
    assert send_due_emails(settings, warn=never, patience_seconds=60) == 2
    assert [mail["To"] for mail in mails_of(catcher, "of-an-earlier-release")] == [settings.smtp_to]


@pytest.mark.parametrize("wrong", ["reception", "a@b.example, ", "a@b.example\nBcc: c@d.example", "a b@c.example"])
def test_receivers_that_are_no_addresses_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be addresses"):
        mail_settings(Path(), 1, console_maintenance_mails=wrong)


def test_the_static_page_is_shipped_as_it_is_made_and_loads_nothing() -> None:
    template = TOP / "fm_pipeline" / "console" / "templates" / "console" / "maintenance_static.html"
    page = Engine().from_string(template.read_text("utf-8"))
    shipped = (TOP / "deploy" / "maintenance.html").read_text("utf-8")
    assert page.render(Context({})) == shipped
    assert "Help: &lt;b&gt;IT" in page.render(Context({"support_contact": "<b>IT"}))
    assert not any(word in shipped for word in ("src=", "href=", "url(", "@import"))
