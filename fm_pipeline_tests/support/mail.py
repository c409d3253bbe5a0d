"""Mail servers for tests: helpers for the stack's catcher, a server with TLS, and servers that misbehave."""

from __future__ import annotations

import email
import email.policy
import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.waiting import wait_until


def mail_settings(state_dir: Path, port: int, **more: Any) -> Settings:
    """Return settings with a mail server on this machine, and a database that does not exist."""
    values: dict[str, Any] = {
        "nexus_database_url": "postgresql://nobody:nothing@127.0.0.1:1/nowhere",
        "smtp_host": "127.0.0.1",
        "smtp_port": port,
        "smtp_from": "fm-pipeline@clinic.example",
        "smtp_to": "administrators@clinic.example",
        "smtp_security": "none",
        "dagster_ui_url": "http://dagster.example/",
        "state_dir": state_dir,
    }
    return Settings(**{"_env_file": None} | values | more)


def mails_of(catcher: SmtpService, run_id: str) -> list[EmailMessage]:
    """Return the caught emails of one run, in the order of arrival."""
    mails = (
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        for path in sorted(catcher.folder.glob("*.eml"))
    )
    return [mail for mail in mails if run_id in mail["Message-ID"]]


def text_of(mail: EmailMessage) -> str:
    """Return subject and text of an email."""
    body = mail.get_body()
    assert isinstance(body, EmailMessage)
    return f"{mail['Subject']}\n{body.get_content()}".replace("\r\n", "\n")


def make_due(state_dir: Path) -> None:
    """Make all emails due for their next attempt."""
    with closing(sqlite3.connect(state_dir / "mails.sqlite")) as connection, connection:
        connection.execute("UPDATE mails SET next_attempt_at = 0")


class Recorder:
    """A handler that stores emails and logins, with configurable replies."""

    def __init__(self, *, rcpt: str = "250 OK", data: str = "250 OK") -> None:
        self.rcpt, self.data = rcpt, data
        self.mails: list[bytes] = []
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        self.mails.append(envelope.content)
        return self.data

    def authenticate(self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)


class _CountingController(Controller):
    """A controller that knows when its last client has disconnected, so that it can be stopped without open sockets.

    It gets a listening socket, because another program could take a free port before it is bound.
    """

    def __init__(self, listening: socket.socket, *args: Any, **options: Any) -> None:
        self.connections: set[SMTP] = set()
        self._listening = listening
        super().__init__(*args, **options)

    def _create_server(self) -> Any:
        return self.loop.create_server(self._factory_invoker, sock=self._listening, ssl=self.ssl_context)

    def factory(self) -> SMTP:
        controller = self

        class Counting(SMTP):
            def connection_made(self, transport: Any) -> None:
                controller.connections.add(self)  # again after STARTTLS
                super().connection_made(transport)

            def connection_lost(self, error: Exception | None) -> None:
                super().connection_lost(error)
                controller.connections.discard(self)

        return Counting(self.handler, **self.SMTP_kwargs)


@contextmanager
def mail_server(recorder: Recorder, *, tls: ssl.SSLContext | None = None, first_byte: bool = False) -> Iterator[int]:
    """Run a server with this handler; yield its port.

    Args:
        tls: offer STARTTLS and a login inside it; with `first_byte`, TLS from the first byte.
    """
    options: dict[str, Any] = {"authenticator": recorder.authenticate}
    if first_byte:
        options |= {"ssl_context": tls, "auth_require_tls": False}
    elif tls:
        options |= {"tls_context": tls}
    listening = socket.create_server(("127.0.0.1", 0))  # the controller's, which closes it
    port = int(listening.getsockname()[1])
    controller = _CountingController(listening, recorder, "127.0.0.1", port, ready_timeout=60, **options)
    controller.start()
    try:
        yield port
    finally:
        wait_until(lambda: not controller.connections)
        controller.stop()


@contextmanager
def misbehaving_server(conversation: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """Run a server that calls this function for every connection; yield its port. The event is set at the end."""
    ended = threading.Event()

    def accept() -> None:
        while not ended.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                try:
                    conversation(client, ended)
                except OSError:
                    continue

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            ended.set()
            with closing(socket.create_connection(listener.getsockname())):
                thread.join()


def silent(client: socket.socket, ended: threading.Event) -> None:
    """Accept a connection and send nothing."""
    ended.wait()


def dripping(client: socket.socket, ended: threading.Event) -> None:
    """Send a byte of the greeting now and then, so that no socket time-out occurs."""
    while not ended.wait(0.02):
        client.sendall(b"2")


def takes_the_text_and_is_silent(client: socket.socket, ended: threading.Event) -> None:
    """Accept the email and do not confirm it."""
    lines = client.makefile("rb")
    client.sendall(b"220 ready\r\n")
    for line in lines:
        if line.upper().startswith(b"DATA"):
            client.sendall(b"354 go on\r\n")
            break
        client.sendall(b"250 ok\r\n")
    for line in lines:
        if line == b".\r\n":
            break
    ended.wait()
