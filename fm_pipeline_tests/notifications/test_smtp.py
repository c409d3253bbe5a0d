"""Handing an email over: encryption, login, and servers that are away, slow or refuse."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import pytest
import trustme

from fm_pipeline.notifications.smtp import Email, EmailNotSent, EmailUnconfirmed, _Attempt, deliver
from fm_pipeline_tests.support.mail import (
    Recorder,
    dripping,
    mail_server,
    mail_settings,
    misbehaving_server,
    silent,
    takes_the_text_and_is_silent,
)
from fm_pipeline_tests.support.waiting import wait_until

LETTER = Email("run.start", "Subject", "Text.\n")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine trusts the authority."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


def yes() -> bool:
    return True


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_login_and_mail_go_through_tls(tmp_path: Path, certificate: ssl.SSLContext, security: str) -> None:
    recorder = Recorder()
    with mail_server(recorder, tls=certificate, first_byte=security == "tls") as port:
        settings = mail_settings(
            tmp_path, port, smtp_security=security, smtp_username="pipeline", smtp_password="right"
        )
        assert deliver(settings, LETTER, yes) == 0
    assert recorder.logins == [(b"pipeline", b"right")]
    assert len(recorder.mails) == 1
    assert b"Message-ID: <run.start@clinic.example>" in recorder.mails[0]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_untrusted_certificate_is_refused(tmp_path: Path, certificate: ssl.SSLContext, security: str) -> None:
    recorder = Recorder()
    with mail_server(recorder, tls=certificate, first_byte=security == "tls") as port:
        settings = mail_settings(
            tmp_path, port, smtp_security=security, smtp_username="pipeline", smtp_password="right"
        )
        with pytest.raises(EmailNotSent, match="certificate of the mail server is not signed by an authority"):
            deliver(settings, LETTER, yes)
    assert not recorder.logins
    assert not recorder.mails


def test_no_mail_goes_to_a_server_without_the_encryption_that_was_asked_for(tmp_path: Path) -> None:
    recorder = Recorder()
    with mail_server(recorder) as port, pytest.raises(EmailNotSent, match="SMTP_SECURITY"):
        deliver(mail_settings(tmp_path, port, smtp_security="starttls"), LETTER, yes)
    assert not recorder.mails


@pytest.mark.usefixtures("trusted")
def test_after_a_wrong_password_the_mail_is_not_tried_again(tmp_path: Path, certificate: ssl.SSLContext) -> None:
    recorder = Recorder()
    with mail_server(recorder, tls=certificate) as port:
        settings = mail_settings(
            tmp_path, port, smtp_security="starttls", smtp_username="pipeline", smtp_password="wrong"
        )
        with pytest.raises(EmailNotSent, match="535") as caught:
            deliver(settings, LETTER, yes)
    assert caught.value.permanent
    assert "wrong" not in str(caught.value)


@pytest.mark.usefixtures("trusted")
def test_a_password_that_smtplib_cannot_send_is_named(tmp_path: Path, certificate: ssl.SSLContext) -> None:
    with mail_server(Recorder(), tls=certificate) as port:
        settings = mail_settings(tmp_path, port, smtp_security="starttls", smtp_username="anna", smtp_password="pä€")
        with pytest.raises(EmailNotSent, match="SMTP_PASSWORD has a character beyond ASCII"):
            deliver(settings, LETTER, yes)


@pytest.mark.parametrize(
    ("recorder", "permanent"),
    [
        (Recorder(rcpt="550 No such user"), True),
        (Recorder(rcpt="451 Try later"), False),
        (Recorder(data="554 Refused"), True),
        (Recorder(data="452 Disk full"), False),
    ],
)
def test_permanent_and_temporary_refusals_are_distinguished(
    tmp_path: Path, recorder: Recorder, permanent: bool
) -> None:
    with mail_server(recorder) as port, pytest.raises(EmailNotSent) as caught:
        deliver(mail_settings(tmp_path, port), LETTER, yes)
    assert caught.value.permanent is permanent


def test_a_server_that_does_not_run_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(EmailNotSent, match="nothing listens on SMTP_PORT"):
        deliver(mail_settings(tmp_path, 1), LETTER, yes)


@pytest.mark.parametrize("conversation", [silent, dripping])
def test_a_server_that_hangs_or_drips_is_left_after_the_limit_and_its_thread_ends(
    tmp_path: Path, conversation: type
) -> None:
    with misbehaving_server(conversation) as port:
        with pytest.raises(EmailNotSent, match="no answer"):
            deliver(mail_settings(tmp_path, port), LETTER, yes, limit_seconds=0.2)
        wait_until(lambda: all(thread.name != "email delivery" for thread in threading.enumerate()))


def test_a_mail_whose_text_was_taken_without_a_word_may_have_been_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = _Attempt.wait

    def wait_from_the_hand_over_on(attempt: _Attempt, limit_seconds: float) -> int:
        wait_until(lambda: attempt._handed_over)
        return wait(attempt, 0.2)

    monkeypatch.setattr(_Attempt, "wait", wait_from_the_hand_over_on)
    with misbehaving_server(takes_the_text_and_is_silent) as port, pytest.raises(EmailUnconfirmed):
        deliver(mail_settings(tmp_path, port), LETTER, yes, limit_seconds=60)


@pytest.mark.parametrize("reply", ["200 Fine", "252 Perhaps", "Thank you"])
def test_a_text_that_the_server_did_not_refuse_is_never_sent_again(tmp_path: Path, reply: str) -> None:
    with mail_server(Recorder(data=reply)) as port, pytest.raises(EmailUnconfirmed):
        deliver(mail_settings(tmp_path, port), LETTER, yes)


def test_nothing_is_sent_when_the_claim_has_ended_meanwhile(tmp_path: Path) -> None:
    recorder = Recorder()
    with mail_server(recorder) as port, pytest.raises(EmailNotSent):
        deliver(mail_settings(tmp_path, port), LETTER, lambda: False)
    assert not recorder.mails
