"""Until when the certificates of the servers are valid, as a warning some weeks before one ends.

Each server is asked in a connection of its own, which ends after the handshake: no name and no password is sent.
"""

from __future__ import annotations

import os
import ssl
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from socket import SHUT_RDWR, create_connection, socket
from threading import Timer
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from fm_pipeline.db.url import connection_parameters
from fm_pipeline.pluralize import counted
from fm_pipeline.preflight.finding import Finding, FindingBuilder
from fm_pipeline.preflight.services import TIMEOUT_SECONDS
from fm_pipeline.settings import Settings

SOON = timedelta(days=21)
SOON_PART = 3  # a certificate of a few days is renewed when a third of its time is left
LONGEST_LINE, MOST_LINES = 2000, 100  # of a reply
SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL manual, "Message Formats"
# What is said before TLS begins, and the code of the reply
_COMMANDS = {
    "smtp": ((b"", b"220"), (b"EHLO [127.0.0.1]\r\n", b"250"), (b"STARTTLS\r\n", b"220")),
    "ftp": ((b"", b"220"), (b"AUTH TLS\r\n", b"234")),
}


class TlsServer(NamedTuple):
    """A server whose certificate is verified.

    Attributes:
        name: for people.
        protocol: how TLS begins.
    """

    name: str
    host: str
    port: int
    protocol: Literal["tls", "smtp", "ftp", "postgresql"] = "tls"


def servers_of(settings: Settings, *, without: frozenset[str] = frozenset()) -> Iterator[TlsServer]:
    """Yield the servers that the settings name.

    Args:
        without: rules that are violated; a server that does not answer is not asked again.
    """
    for name, url, rule in (
        ("FileMaker Server", settings.filemaker_url, "filemaker_unreachable"),
        ("S3", settings.s3_endpoint_url, "s3_unreachable"),
        ("Orthanc", settings.orthanc_url, "orthanc_unreachable"),
    ):
        parts = urlsplit(url or "")
        if parts.scheme == "https" and parts.hostname and rule not in without:
            yield TlsServer(name, parts.hostname, parts.port or 443)
    if settings.smtp_host and settings.smtp_security != "none" and "mail_unreachable" not in without:
        protocol: Literal["tls", "smtp"] = "tls" if settings.smtp_security == "tls" else "smtp"
        yield TlsServer("the mail server", settings.smtp_host, settings.smtp_port, protocol)
    if "nexus_unreachable" not in without:
        yield from _of_database(connection_parameters(settings.nexus_database_url.get_secret_value()))


def _of_database(parameters: Mapping[str, str]) -> Iterator[TlsServer]:
    """Yield the hosts of Nexus' database whose certificates libpq verifies."""
    if not (parameters.get("sslmode") or os.environ.get("PGSSLMODE", "")).startswith("verify-"):
        return
    hosts = (parameters.get("host") or parameters.get("hostaddr") or "").split(",")
    ports = (parameters.get("port") or "5432").split(",")
    for host, port in zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True):
        if host and not host.startswith("/"):
            name = "Nexus' database" + (f" on {host}" if len(hosts) > 1 else "")
            yield TlsServer(name, host, int(port or 5432), "postgresql")


def check_certificates(settings: Settings, servers: Iterable[TlsServer], build: FindingBuilder) -> Iterator[Finding]:
    """Say until when each certificate is valid; nothing of one that cannot be had or verified here."""
    context = _context(settings)
    for server in servers:
        if validity := read_validity(server, context):
            begin, end = validity
            subject, left = f"certificate of {server.name}", end - datetime.now(UTC)
            valid = f"valid until {end:%Y-%m-%d}"
            if left < min(SOON, (end - begin) / SOON_PART):
                yield build.violation(
                    "certificate_ends_soon", subject, f"{valid}, for {counted(left.days, 'day')} more"
                )
            else:
                yield build.ok(subject, valid)


def read_validity(server: TlsServer, context: ssl.SSLContext) -> tuple[datetime, datetime] | None:
    """Return begin and end of a server's certificate; None if it cannot be had, or is not trusted."""
    with suppress(OSError, ValueError), create_connection((server.host, server.port), TIMEOUT_SECONDS) as plain:
        limit = Timer(TIMEOUT_SECONDS, _hang_up, [plain])  # each read has its own, and there may be many
        limit.daemon = True
        limit.start()
        try:
            if _may_begin(plain, server.protocol):
                # A copy, so that the timer keeps the socket that it shuts down.
                with context.wrap_socket(plain.dup(), server_hostname=server.host) as encrypted:
                    return _validity(encrypted.getpeercert() or {})
        finally:
            limit.cancel()
    return None


def _validity(certificate: Mapping[str, Any]) -> tuple[datetime, datetime]:
    begin, end = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate[name]), UTC) for name in ("notBefore", "notAfter")
    )
    return begin, end


def _context(settings: Settings) -> ssl.SSLContext:
    """Return a context that trusts whom any of the clients trusts: only dates are read, and nothing is sent."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # noqa: PLC0415  # slow to import

    root = connection_parameters(settings.nexus_database_url.get_secret_value()).get("sslrootcert", "")
    files = [DEFAULT_CA_BUNDLE_PATH, settings.filemaker_ca_bundle, settings.orthanc_ca_bundle, settings.ftp_ca_bundle]
    files += [os.path.expanduser("~/.postgresql/root.crt"), root.removeprefix("system")]
    names = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PGSSLROOTCERT")
    files += [os.environ.get(name) for name in names]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # from Python 3.13 on; libpq does without it
    for file in filter(None, files):
        with suppress(OSError):  # the check of the server has told it
            context.load_verify_locations(str(file))
    return context


def _hang_up(plain: socket) -> None:
    with suppress(OSError):
        plain.shutdown(SHUT_RDWR)


def _may_begin(plain: socket, protocol: str) -> bool:
    """Ask the server to begin TLS; return whether it does."""
    if protocol == "postgresql":
        plain.sendall(SSL_REQUEST)
        return plain.recv(1) == b"S"
    with plain.makefile("rb", buffering=0) as replies:  # nothing of TLS may be read with them
        for command, code in _COMMANDS.get(protocol, ()):
            plain.sendall(command)
            if not _reply(replies).startswith(code):
                return False
    return True


def _reply(replies: Any) -> bytes:
    """Read a reply of SMTP or FTP; return its last line, in which a blank follows the code."""
    for _ in range(MOST_LINES):
        line: bytes = replies.readline(LONGEST_LINE)
        if not line or (line[:3].isdigit() and line[3:4] != b"-"):
            return line
    return b""
