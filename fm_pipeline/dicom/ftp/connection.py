"""Open a control connection to an FTP server: connect, encrypt, log in, with an error for each way that this fails.

It extends ftplib. Replies are read within one timeout and up to a maximal length, so that every call ends, whatever the
server sends.
"""

from __future__ import annotations

import ftplib
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fm_pipeline.certificates import certificate_refusal
from fm_pipeline.errors import FtpError

_REPLY = re.compile(r"[1-5][0-9]{2}(?:[ -]|$)")
LONGEST_REPLY = 64 * 1024  # bytes
UNKNOWN_COMMAND_REPLIES = ("500", "501", "502", "504")  # the server does not know the command
# RFC 4217 and RFC 2228. vsftpd also replies 522 if the data connection does not resume the TLS session.
PROTECTION_REPLIES = ("521", "522", "533", "534", "535", "536", "537")
# Errors that end a connection. A reply 4xx is transient by definition (RFC 959, 4.2), such as 426 "transfer aborted".
CONNECTION_LOST_ERRORS = (OSError, EOFError, ftplib.error_temp, ftplib.error_proto, ftplib.error_reply)
_OF_ENCRYPTION = re.compile(
    r"\b(?:un)?(?:tls|ssl|ftps|encrypt\w*|ciphers?|secure|(?:clear|plain)[ -]?text)\b", re.IGNORECASE
)


class NotFtp(ftplib.error_proto):
    """The server sent something other than an FTP reply, or a reply without an end."""


class LoggedOut(ftplib.error_reply):
    """The server has ended the login, and the session is over."""


class NoReply(TimeoutError):
    """The control connection stands, and no reply came within the timeout."""


class NoDataConnection(OSError):
    """The data connection that the server offered cannot be opened."""


class TransferHeldBack(NoReply):
    """No reply to RETR, or no byte. vsftpd waits like this while another client uploads the file."""


@dataclass(frozen=True)
class FtpServer:
    """An FTP server and its account.

    Attributes:
        security: `tls` verifies the certificate; `tls_unverified` only encrypts; `none` is clear text.
    """

    host: str
    port: int = 21
    username: str = "anonymous"
    password: str = ""
    passive: bool = True
    security: Literal["tls", "tls_unverified", "none"] = "tls"
    ca_bundle: Path | None = None

    def __repr__(self) -> str:
        return f"FtpServer({self.name!r})"

    @property
    def name(self) -> str:
        """The name in the ledger and in messages: user@host:port."""
        return f"{self.username}@{self.host}:{self.port}"


class _Control(ftplib.FTP):
    _from: object = None  # the socket of `_unread`: bytes received in clear text are not used after TLS has begun
    _unread = b""
    _until = 0.0
    _left = 0

    def getmultiline(self) -> str:
        self._until = time.monotonic() + (self.timeout or 0)
        self._left = LONGEST_REPLY
        lines = [self.getline()]
        if not _REPLY.match(lines[0]):
            raise NotFtp("no reply of FTP")
        if lines[0][3:4] == "-":  # up to a line with the same code and no dash (RFC 959, 4.2)
            while not (lines[-1].startswith(lines[0][:3]) and lines[-1][3:4] != "-"):
                lines.append(self.getline())
        return "\n".join(lines)

    def makepasv(self) -> tuple[str, int]:
        host, port = super().makepasv()
        if not 0 < port < 1 << 16:
            raise NotFtp("no port")  # the system would reduce it modulo 65,536
        return host, port

    def getline(self) -> str:
        if self._from is not self.sock:
            self._from, self._unread = self.sock, b""
        while b"\n" not in self._unread:
            block = self._received()
            if not block:
                raise EOFError
            self._left -= len(block)
            if self._left < 0:
                raise NotFtp("a reply without an end")
            self._unread += block
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(self.encoding).rstrip("\r")

    def _received(self) -> bytes:
        seconds = self._until - time.monotonic()
        if self.sock is None:
            raise EOFError
        if seconds <= 0:
            raise NoReply
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(4096)
        except TimeoutError:
            raise NoReply from None
        finally:
            self.sock.settimeout(self.timeout)


class _Tls(_Control, ftplib.FTP_TLS):
    """Data connections resume the TLS session of the control connection, as vsftpd and FileZilla Server demand."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[ssl.SSLSocket, int | None]:
        channel, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321
        control = self.sock
        assert isinstance(control, ssl.SSLSocket)  # noqa: S101  # after login
        try:
            return self.context.wrap_socket(channel, server_hostname=self.host, session=control.session), size
        except TimeoutError:
            channel.close()
            raise NoReply from None
        except BaseException:
            channel.close()
            raise


@contextmanager
def replies_understood() -> Iterator[None]:
    """Raise `NotFtp` for the errors of ftplib about malformed replies.

    ftplib parses numbers and ports without checks (ValueError, IndexError, OverflowError).
    """
    try:
        yield
    except (OSError, ftplib.error_perm, ftplib.error_temp, ftplib.error_proto, ftplib.error_reply):
        raise  # an error of a certificate is a ValueError too
    except (ValueError, IndexError, OverflowError, ftplib.Error) as error:
        raise NotFtp(type(error).__name__) from None


def connect_to_server(server: FtpServer, timeout_seconds: float) -> ftplib.FTP:
    """Connect, encrypt as the server's `security` says, and log in.

    Raises:
        FtpError: another attempt would not help.
        OSError, EOFError, ftplib.Error: one of `CONNECTION_LOST_ERRORS`.
    """
    ftp: ftplib.FTP
    if server.security == "none":
        ftp = _Control(timeout=timeout_seconds, encoding="latin-1")
    else:
        ftp = _Tls(context=_context(server), timeout=timeout_seconds, encoding="latin-1")
    try:
        with replies_understood():
            _open_connection(ftp, server)
            if isinstance(ftp, _Tls):
                _start_tls(ftp, server)
            _log_in(ftp, server)
            if isinstance(ftp, _Tls):
                _protect_data(ftp, server)
            ftp.set_pasv(server.passive)
    except BaseException:
        ftp.close()
        raise
    return ftp


def _open_connection(ftp: ftplib.FTP, server: FtpServer) -> None:
    try:
        ftp.connect(server.host, server.port)
    except ftplib.error_perm as error:
        raise FtpError(
            f"The FTP server {server.host} refuses the connection (reply {code_of(error)}).",
            meaning="Nothing was sent to it. It may let in only addresses that it knows.",
            remedy="Ask its administrator to let this machine in, or check --ftp-host and --ftp-port.",
        ) from None
    except UnicodeError:
        raise FtpError(
            "The name of the FTP server is not a name that a host can have.",
            meaning="Nothing was asked.",
            remedy="Check --ftp-host.",
        ) from None
    except (ftplib.error_proto, ftplib.error_reply):
        raise FtpError(
            f"What answers on {server.host}, port {server.port}, is not an FTP server.",
            meaning="Nothing was sent to it.",
            remedy="Check --ftp-host and --ftp-port. SFTP, which is a part of SSH, is not FTP and is not supported.",
        ) from None


def _start_tls(ftp: _Tls, server: FtpServer) -> None:
    try:
        ftp.auth()
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        raise
    except ssl.SSLError as error:
        if refusal := certificate_refusal(error, address="--ftp-host", authority="FTP_CA_BUNDLE"):
            raise FtpError(
                f"The certificate of the FTP server {server.host} {refusal.why}.",
                meaning="Nothing was sent to it, no password either.",
                remedy=refusal.remedy,
            ) from None
        raise FtpError(
            f"The FTP server {server.host} and this machine have no TLS in common ({error.reason or 'no reason'}).",
            meaning="Nothing was sent to it, no password either.",
            remedy="The server needs TLS 1.2 or newer, on the port of --ftp-port, after the command AUTH TLS.",
        ) from None
    except ftplib.error_perm as error:
        raise FtpError(
            f"The FTP server {server.host} offers no TLS (reply {code_of(error)} to AUTH TLS).",
            meaning="Nothing was sent to it, no password either.",
            remedy="Have TLS turned on there. Without it passwords and records can be read on the way; in a network"
            " that you trust: fm-pipeline dicom configure --ftp-security none",
        ) from None


def _log_in(ftp: ftplib.FTP, server: FtpServer) -> None:
    try:
        reply = _user(ftp, server)
        if reply.startswith("3"):
            reply = ftp.sendcmd(f"PASS {_in_utf_8(server.password)}")
        if reply.startswith("3"):
            reply = ftp.sendcmd("ACCT ")
        if not reply.startswith("2"):
            raise LoggedOut(reply)
    except (ftplib.error_perm, ftplib.error_temp) as error:
        code, asks = code_of(error), _OF_ENCRYPTION.search(str(error)[3:]) or code_of(error) in PROTECTION_REPLIES
        if server.security == "none" and asks:
            raise FtpError(
                f"The FTP server {server.host} lets nobody in without TLS (reply {code}).",
                meaning="Nothing was pulled.",
                remedy="fm-pipeline dicom configure --ftp-security tls; FTP_CA_BUNDLE names its authority.",
            ) from None
        if isinstance(error, ftplib.error_temp):
            raise
        raise FtpError(
            f"The FTP server {server.host} refused the login (reply {code}).",
            meaning="It is not tried again by itself, because accounts are locked after wrong passwords.",
            remedy="Check --ftp-username and FTP_PASSWORD."
            + (" Many servers also ask for TLS: --ftp-security tls." if server.security == "none" else ""),
        ) from None


def _user(ftp: ftplib.FTP, server: FtpServer) -> str:
    try:
        return ftp.sendcmd(f"USER {_in_utf_8(server.username)}")
    except ftplib.error_perm as error:
        if code_of(error) not in ("500", "502"):
            raise
        raise FtpError(
            f"What answers on {server.host}, port {server.port}, does not know the login of FTP (reply {code_of(error)}"
            " to USER).",
            meaning="No password was sent to it. It may be a mail server, whose replies look alike.",
            remedy="Check --ftp-host and --ftp-port.",
        ) from None


def _in_utf_8(text: str) -> str:
    """Return the text whose bytes in Latin-1, in which commands are sent, are UTF-8 (RFC 2640)."""
    return text.encode().decode("latin-1")


def _protect_data(ftp: _Tls, server: FtpServer) -> None:
    try:
        ftp.prot_p()
    except ftplib.error_perm as error:
        raise FtpError(
            f"The FTP server {server.host} does not encrypt what it sends (reply {code_of(error)} to PROT P).",
            meaning="Nothing was pulled: records would be readable on the way.",
            remedy="Have TLS turned on for data connections there.",
        ) from None


def code_of(error: BaseException) -> str:
    """Return the three digits of a reply; empty if the error has none."""
    text = str(error)[:3]
    return text if isinstance(error, ftplib.Error) and text.isdigit() and text.isascii() else ""


def _context(server: FtpServer) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(server.ca_bundle) if server.ca_bundle else None)
    except OSError as error:
        raise FtpError(
            f"FTP_CA_BUNDLE is not a file with certificates in PEM that can be read ({type(error).__name__}).",
            meaning="The FTP server was not asked.",
            remedy="Check the path, and that the pipeline's account may read it; or leave it empty.",
        ) from None
    if server.security == "tls_unverified":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
