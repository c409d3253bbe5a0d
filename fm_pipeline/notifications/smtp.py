"""Send one email to the mail server within a fixed time.

Socket time-outs do not bound the time: a server that sends a byte now and then never times out, and a DNS lookup cannot
be interrupted. So a thread does the work. The caller waits for it, and abandons it when the time is up.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parseaddr
from functools import partial
from typing import Any

from fm_pipeline.certificates import certificate_refusal
from fm_pipeline.settings import Settings

LIMIT_SECONDS = 20.0
_LONGER_SECONDS = 20.0  # by which the time-out of the thread exceeds that of its caller


# The first that fits: a wrong certificate is an error of TLS too.
_NO_CONNECTION: dict[type[Exception], str] = {
    ConnectionRefusedError: "nothing listens on SMTP_PORT of SMTP_HOST",
    socket.gaierror: "the host of SMTP_HOST is not known",
    ssl.SSLError: "what listens on SMTP_PORT does not speak TLS as SMTP_SECURITY asks for",
    UnicodeEncodeError: "SMTP_USERNAME or SMTP_PASSWORD has a character beyond ASCII, which cannot be sent",  # smtplib
}


class EmailNotSent(Exception):
    """The mail server has certainly not accepted the email.

    Args:
        why: without the text of the server.
        permanent: after a reply 5yz the same email is not retried (RFC 5321, 4.2.1), for example a wrong password.
    """

    def __init__(self, why: str, *, permanent: bool = False) -> None:
        super().__init__(why)
        self.permanent = permanent


class EmailUnconfirmed(Exception):
    """The email was handed over and not refused: no answer came, or an unknown one. It must not be sent again."""


@dataclass(frozen=True)
class Email:
    """An email in the outbox. Its Message-ID is the same at every attempt.

    Attributes:
        receivers: addresses, separated by commas; None: SMTP_TO.
    """

    message_id: str
    subject: str
    body: str
    receivers: str | None = None

    def message(self, settings: Settings) -> EmailMessage:
        """Return the message with the headers from the settings."""
        message = EmailMessage()
        message["From"] = settings.smtp_from
        message["To"] = self.receivers or settings.smtp_to
        message["Subject"] = self.subject
        message["Date"] = datetime.now(UTC)
        message["Message-ID"] = f"<{self.message_id}@{parseaddr(settings.smtp_from or '')[1].rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: prevents automatic replies
        message.set_content(self.body)
        return message


def deliver(
    settings: Settings, email: Email, hand_over: Callable[[], bool], *, limit_seconds: float = LIMIT_SECONDS
) -> int:
    """Send an email.

    Args:
        hand_over: called after the server has accepted sender and recipients, right before the text. If it returns
            False, nothing is sent. If it returns True it must have recorded that: the email may be delivered now.
        limit_seconds: for everything, from the DNS lookup to the last reply.

    Returns:
        How many recipients the server refused; at least one was accepted.

    Raises:
        EmailNotSent: the server is down, slow or refuses; the email was not delivered.
        EmailUnconfirmed: it is unknown whether the email was delivered.
    """
    attempt = _Attempt(hand_over)
    work = partial(attempt.run, settings, email, limit_seconds)
    threading.Thread(target=work, name="email delivery", daemon=True).start()
    return attempt.wait(limit_seconds)


class _Attempt:
    """One attempt: a thread works, the caller waits. The lock decides whether hand-over or time-out comes first."""

    def __init__(self, hand_over: Callable[[], bool]) -> None:
        self._ask, self._lock, self._ended = hand_over, threading.Lock(), threading.Event()
        self._abandoned, self._handed_over = False, False
        self._refused = 0
        self._error: EmailNotSent | EmailUnconfirmed | None = None
        self.client: smtplib.SMTP | None = None

    def wait(self, limit_seconds: float) -> int:
        """Wait for the thread, at most for the limit."""
        if not self._ended.wait(limit_seconds):
            with self._lock:
                self._abandoned = not self._ended.is_set()
            if self._abandoned:
                self._hang_up()
                if self._handed_over:
                    raise EmailUnconfirmed
                raise EmailNotSent(f"no answer within {limit_seconds:g} seconds")
        if self._error:
            raise self._error
        return self._refused

    def run(self, settings: Settings, email: Email, limit_seconds: float) -> None:
        """Talk to the server. Runs in the thread."""
        refused = 0
        error: EmailNotSent | EmailUnconfirmed | None = None
        try:
            # Longer than the caller waits: so the caller's limit applies, with its message.
            self.client = _open(self, settings, limit_seconds + _LONGER_SECONDS)
            if settings.smtp_security == "starttls":
                self.client.starttls(context=ssl.create_default_context())
            if settings.smtp_username:
                password = settings.smtp_password.get_secret_value() if settings.smtp_password else ""
                self.client.login(settings.smtp_username, password)
            refused = len(self.client.send_message(email.message(settings)))
        except Exception as fault:  # noqa: BLE001  # it must not become a failure of the run
            error = _explained(fault, handed_over=self._handed_over)
        with self._lock:
            self._refused, self._error = refused, error
            self._ended.set()
        if self.client is not None:
            with contextlib.suppress(OSError):  # QUIT does not change whether the email was accepted
                self.client.quit()
            self.client.close()

    def hand_over(self) -> None:
        """Ask whether the text may be sent. Runs in the thread.

        Raises:
            EmailNotSent: the time is up, or another process sends it.
        """
        with self._lock:
            if self._abandoned or not self._ask():
                raise EmailNotSent("it is no longer to be sent")
            self._handed_over = True

    def _hang_up(self) -> None:
        """Shut the socket down, so that the thread ends."""
        sock = getattr(self.client, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _Smtp(smtplib.SMTP):
    """A client that its attempt knows before it connects, and that asks the attempt before it sends the text."""

    def __init__(self, attempt: _Attempt, *args: Any, **options: Any) -> None:
        self._attempt = attempt
        attempt.client = self
        super().__init__(*args, **options)

    def data(self, msg: Any) -> tuple[int, bytes]:
        self._attempt.hand_over()
        return super().data(msg)


class _SmtpOverTls(_Smtp, smtplib.SMTP_SSL):
    """The same in TLS from the first byte."""


def _open(attempt: _Attempt, settings: Settings, timeout: float) -> smtplib.SMTP:
    address = (settings.smtp_host or "", settings.smtp_port)
    if settings.smtp_security == "tls":
        return _SmtpOverTls(attempt, *address, timeout=timeout, context=ssl.create_default_context())
    return _Smtp(attempt, *address, timeout=timeout)


def _explained(error: Exception, *, handed_over: bool) -> EmailNotSent | EmailUnconfirmed:
    """Translate an error. The server's text is left out: it may quote the email."""
    if isinstance(error, EmailNotSent):
        return error
    name = type(error).__name__
    # For the text, smtplib takes 250 alone for success; by RFC 5321, 4.2.1, any 2yz is one.
    if isinstance(error, smtplib.SMTPResponseException) and not (handed_over and error.smtp_code < 400):
        refused_login = isinstance(error, smtplib.SMTPAuthenticationError)
        said = "the mail server refuses SMTP_USERNAME or SMTP_PASSWORD" if refused_login else name
        return EmailNotSent(f"{said}, reply {error.smtp_code}", permanent=error.smtp_code >= 500)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({code for code, _ in error.recipients.values()})
        return EmailNotSent(f"{name}, reply {', '.join(map(str, codes))}", permanent=min(codes) >= 500)
    if handed_over:
        return EmailUnconfirmed()
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return EmailNotSent("the mail server does not offer what SMTP_SECURITY or SMTP_USERNAME ask for")
    refusal = certificate_refusal(error, address="SMTP_HOST", authority="SSL_CERT_FILE")
    said = next((words for kind, words in _NO_CONNECTION.items() if isinstance(error, kind)), name)
    return EmailNotSent(f"the certificate of the mail server {refusal.why}" if refusal else said)
