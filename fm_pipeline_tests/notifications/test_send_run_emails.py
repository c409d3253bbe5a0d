"""Emails around a reimport, through the real catcher."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from fm_pipeline.db.audit import record
from fm_pipeline.db.run_requests import record_run_request
from fm_pipeline.errors import ValidationStop
from fm_pipeline.notifications.email_texts.reimport import EventType
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.notifications.send_run_emails import enqueue_run_email, run_emails, send_due_emails
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.mail import Recorder, mail_server, mail_settings, mails_of, make_due, text_of
from fm_pipeline_tests.support.services import LazyStack

CANARY = "Zephyrine Quollthorpe"


def never(message: str) -> None:
    pytest.fail(message)


@pytest.fixture
def run_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def catcher(stack: LazyStack) -> SmtpService:
    return stack.mail


@pytest.fixture
def settings(tmp_path: Path, catcher: SmtpService) -> Settings:
    return mail_settings(tmp_path / "state", catcher.port)


@pytest.fixture
def texts(catcher: SmtpService, run_id: str) -> Callable[[], list[str]]:
    return lambda: [text_of(mail) for mail in mails_of(catcher, run_id)]


@pytest.mark.usefixtures("staged_once")
def test_emails_before_and_after_a_reimport_have_counts_and_no_names(
    bench: MigrationBench, catcher: SmtpService, run_id: str, texts: Callable[[], list[str]]
) -> None:
    first, last = CANARY.split()
    bench.execute("UPDATE fm_pipeline.staged_patients SET first_name = %s, last_name = %s", first, last)
    bench.execute("UPDATE fm_pipeline.staged_notes SET content = %s", CANARY)
    mail = {name: value for name, value in mail_settings(Path(), catcher.port) if name.startswith("smtp_")}
    bench = bench.with_settings(**mail, dagster_ui_url="http://dagster.example/")
    plan = bench.plan()
    record_run_request(bench.database_url, run_id, "manager")
    with run_emails(bench.settings, run_id, warn=never, in_dagster=True, plan_id=plan.id):
        assert len(texts()) == 1, "before is before"
        report = bench.reimport(run_id=run_id)
    before, after = texts()
    assert "started" in before
    assert plan.report.losses[0] in before
    assert "would" in plan.report.losses[0]
    assert after.index(report.losses[0]) < after.index(f"{report.changed_rows:,} rows of Nexus changed")
    assert "would" not in after
    assert f"{report.changed_rows:,} rows of Nexus changed" in after
    assert f"patients: {report.tables['patients'].after:,} rows" in after
    assert "Its transaction was committed" in after
    for text in (before, after):
        assert run_id in text
        assert f"http://dagster.example/runs/{run_id}" in text
        assert "By:   started by manager\n" in text
        assert first not in text
        assert last not in text
    assert bench.execute("SELECT count(*) FROM patients WHERE last_name = %s", last)[0][0] > 0
    other = str(uuid.uuid4())
    record_run_request(bench.database_url, other, "manager")
    record(bench.database_url, actor="admin", action="cancel", outcome="started", run_id=other)
    with pytest.raises(KeyboardInterrupt), run_emails(bench.settings, other, warn=never, in_dagster=True):
        raise KeyboardInterrupt
    assert "By:   started by manager, cancelled by admin\n" in text_of(mails_of(catcher, other)[-1])


def test_an_email_has_the_message_of_our_own_errors(
    settings: Settings, run_id: str, texts: Callable[[], list[str]]
) -> None:
    with pytest.raises(ValidationStop), run_emails(settings, run_id, warn=never):
        raise ValidationStop("A check failed.", meaning="Nothing was changed.", remedy="Look at it.")
    text = texts()[-1]
    assert "A check failed.\nNothing was changed.\nLook at it." in text
    assert "Reimport failed" in text
    assert "/runs/" not in text, "a command has no page in Dagster's UI"


def test_an_email_has_only_the_class_of_a_library_error(
    settings: Settings, run_id: str, texts: Callable[[], list[str]]
) -> None:
    with pytest.raises(ValueError, match=CANARY), run_emails(settings, run_id, warn=never):
        raise ValueError(CANARY)
    text = texts()[-1]
    assert "ValueError" in text
    assert CANARY.split(maxsplit=1)[0] not in text


def test_an_email_reports_a_cancelled_run(settings: Settings, run_id: str, texts: Callable[[], list[str]]) -> None:
    with pytest.raises(KeyboardInterrupt), run_emails(settings, run_id, warn=never):
        raise KeyboardInterrupt
    assert "cancelled" in texts()[-1]


def test_an_email_says_that_the_database_did_not_answer(
    settings: Settings, run_id: str, texts: Callable[[], list[str]]
) -> None:
    with run_emails(settings, run_id, warn=never):
        pass
    subject, text = texts()[-1].split("\n", 1)
    assert "Nexus may have been changed" in subject
    assert "never between" in text


def test_nothing_is_told_twice_also_after_a_restart(
    settings: Settings, run_id: str, texts: Callable[[], list[str]]
) -> None:
    for _ in range(2):
        with run_emails(settings, run_id, warn=never):
            pass
        enqueue_run_email(settings, run_id, EventType.SUCCEEDED, in_dagster=True)
        send_due_emails(settings, warn=never, patience_seconds=5)
    assert len(texts()) == 2


def test_without_a_mail_server_in_the_settings_nothing_is_kept(tmp_path: Path, run_id: str) -> None:
    settings = mail_settings(tmp_path / "state", 1, smtp_host=None)
    with run_emails(settings, run_id, warn=never):
        pass
    assert not (tmp_path / "state").exists()


def test_a_mail_server_that_is_down_changes_no_result_and_gets_the_email_later(
    tmp_path: Path, run_id: str, catcher: SmtpService, texts: Callable[[], list[str]]
) -> None:
    warnings: list[str] = []
    down = mail_settings(tmp_path, 1)
    with run_emails(down, run_id, warn=warnings.append):
        pass
    assert len(warnings) == 2
    assert "nothing listens on SMTP_PORT of SMTP_HOST; the sensor tries again" in warnings[0]
    up = mail_settings(tmp_path, catcher.port)
    assert send_due_emails(up, warn=never) == 0, "not due yet"
    make_due(tmp_path)
    assert send_due_emails(up, warn=never) == 1
    assert ["succeeded" in text for text in texts()] == [True], "news of the start are stale by then"


def test_a_refused_email_is_given_up_and_the_run_goes_on(tmp_path: Path, run_id: str) -> None:
    warnings: list[str] = []
    with mail_server(Recorder(rcpt="550 No such user")) as port:
        settings = mail_settings(tmp_path, port)
        with run_emails(settings, run_id, warn=warnings.append):
            pass
    assert "550; it is given up" in warnings[0]
    assert Outbox(tmp_path).count_unsent() == 0


def test_an_outbox_that_cannot_be_written_changes_no_result(tmp_path: Path, run_id: str) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    warnings: list[str] = []
    with run_emails(mail_settings(tmp_path / "state", 1), run_id, warn=warnings.append):
        pass
    assert warnings == [
        "The email that the reimport has started could not be sent (NotADirectoryError).",
        "The email that the reimport has succeeded could not be sent (NotADirectoryError).",
    ]
