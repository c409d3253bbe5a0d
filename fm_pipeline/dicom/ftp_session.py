"""One session with an FTP server: list a folder, read a file from an offset. It never writes or deletes there.

The standard library's ftplib carries it, since it gives the three things that a pull stands on: MLSD, which has exact
sizes and times in UTC (RFC 3659), REST, and a time-out on both connections. ftputil, which is made for browsing, knows
the older LIST formats: its parsers read those of servers without MLSD. (ftputil itself uses LIST alone, whose times are
to the minute in an unknown zone; it finds the zone out by uploading a file, which a read-only account forbids.)

Names are byte-true: the session speaks Latin-1, so every byte of a name comes and goes as it is, UTF-8 or not.
"""

from __future__ import annotations

import ftplib
import os
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from fm_pipeline.errors import FtpError

TIMEOUT_SECONDS = 60.0
BLOCK_BYTES = 256 * 1024
LONGEST_NAME = 255  # bytes, as the usual file systems have it
# What connections die of. An answer 4xx is transient by definition (RFC 959, 4.2), such as 426 "transfer aborted".
# Of these 450 to 452 are about one file: somebody writes it, or it cannot be read (`FileBusy`).
LOST = (OSError, EOFError, ftplib.error_temp, ftplib.error_proto, ftplib.error_reply)
_OF_ONE_FILE = ("450", "451", "452")
_NOT_KNOWN = ("500", "501", "502", "504")  # replies to a command that the server does not have


class FileBusy(Exception):
    """The server cannot give this file, or list this folder, now; the session stays usable."""


@contextmanager
def _of_one_file() -> Iterator[None]:
    try:
        yield
    except ftplib.error_temp as error:
        if str(error)[:3] in _OF_ONE_FILE:
            raise FileBusy from None
        raise


@dataclass(frozen=True)
class FtpServer:
    """Where to pull from.

    Attributes:
        security: `tls` verifies the certificate; `tls_unverified` encrypts for whoever answers; `none` is clear text.
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
        """For the ledger and for people: user@host:port."""
        return f"{self.username}@{self.host}:{self.port}"


Kind: TypeAlias = Literal["file", "folder", "other"]


@dataclass(frozen=True)
class Entry:
    """One name in a folder of the server.

    Attributes:
        name: as on the wire.
        kind: `other` is a link or a special file, which is never followed.
        size: bytes; None where the server does not say.
        modified: by the server's clock; None where the server does not say it to the second.
    """

    name: bytes
    kind: Kind
    size: int | None = None
    modified: datetime | None = None


def refusal(name: bytes) -> str | None:
    """Why a name that a server gave may not become one of ours; None if it may. A server is not to be trusted."""
    separators = {os.sep.encode(), b"/", *([os.altsep.encode()] if os.altsep else [])}
    if name in (b"", b".", b".."):
        return "name_refused"
    if any(byte in name for byte in (b"\0", b"\r", b"\n", *separators)):
        return "name_refused"
    return "name_too_long" if len(name) > LONGEST_NAME else None


class FtpSession:
    """A context manager; entering it connects and logs in.

    Raises:
        FtpError: on entering: the server's certificate is not trusted, or it refused the login.
            A lost connection comes as one of `LOST`, from every method.
    """

    def __init__(self, server: FtpServer, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._server = server
        self._timeout = timeout_seconds
        self._ftp: ftplib.FTP = ftplib.FTP()  # noqa: S321  # TLS is the default of the configuration
        self._mlsd = True

    def __enter__(self) -> Self:
        server = self._server
        if server.security == "none":
            self._ftp = ftplib.FTP(timeout=self._timeout, encoding="latin-1")  # noqa: S321
        else:
            self._ftp = _Tls(context=_context(server), timeout=self._timeout, encoding="latin-1")
        try:
            self._ftp.connect(server.host, server.port)
            self._ftp.login(server.username, server.password)
            if isinstance(self._ftp, ftplib.FTP_TLS):
                self._ftp.prot_p()
            self._ftp.set_pasv(server.passive)
        except ssl.SSLCertVerificationError:
            self._ftp.close()
            raise FtpError(
                f"The certificate of the FTP server {server.host} is not signed by an authority that is trusted here.",
                meaning="Nothing was sent to it, no password either.",
                remedy="Name the authority's PEM file in FTP_CA_BUNDLE, or check the server's name.",
            ) from None
        except ftplib.error_perm as error:
            self._ftp.close()
            raise FtpError(
                f"The FTP server {server.host} refused the login or its protection (reply {str(error)[:3]}).",
                meaning="It is not tried again by itself, because accounts are locked after wrong passwords.",
                remedy="Check --ftp-username, FTP_PASSWORD and --ftp-security.",
            ) from None
        except BaseException:
            self._ftp.close()
            raise
        self._say_utf8()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            try:
                self._ftp.quit()
            except (*LOST, ftplib.Error):
                pass
        self._ftp.close()

    def entries(self, folder: bytes) -> list[Entry] | None:
        """What is in a folder, in the server's order; None if it cannot be listed (no right, or gone)."""
        try:
            with _of_one_file():
                return self._entries(folder)
        except (ftplib.error_perm, FileBusy):
            return None

    def _entries(self, folder: bytes) -> list[Entry]:
        self._ftp.cwd(folder.decode("latin-1"))
        if self._mlsd:
            try:
                return self._list_mlsd()
            except ftplib.error_perm as error:
                if str(error)[:3] not in _NOT_KNOWN:
                    raise
                self._mlsd = False
        return self._list()

    def facts(self, path: bytes) -> tuple[int | None, datetime | None]:
        """Size and time of a file as they are now; None for what the server does not say."""
        text = path.decode("latin-1")
        self._binary()
        try:
            size = self._ftp.size(text)
        except ftplib.error_perm:
            size = None
        try:
            modified = _time(self._ftp.voidcmd(f"MDTM {text}").split()[-1])
        except ftplib.error_perm:
            modified = None
        return size, modified

    def read(self, path: bytes, offset: int, write: Callable[[bytes], object]) -> bool:
        """Send a file's bytes from an offset on to `write`; what that raises ends the session's use.

        Returns:
            False if the server cannot begin at an offset: then nothing was written.

        Raises:
            FileBusy: the server cannot give it now.
        """
        with _of_one_file():
            return self._read(path, offset, write)

    def _read(self, path: bytes, offset: int, write: Callable[[bytes], object]) -> bool:
        self._binary()
        try:
            channel = self._ftp.transfercmd(f"RETR {path.decode('latin-1')}", rest=offset or None)
        except ftplib.error_perm as error:
            if offset and str(error)[:3] in _NOT_KNOWN:
                return False
            raise
        with channel:
            while block := channel.recv(BLOCK_BYTES):
                write(block)
            if isinstance(channel, ssl.SSLSocket):
                channel.unwrap()
        self._ftp.voidresp()
        return True

    def _binary(self) -> None:
        """Before every transfer: listings are text (TYPE A), and in that type line ends are translated."""
        self._ftp.voidcmd("TYPE I")

    def _say_utf8(self) -> None:
        """Some servers send UTF-8 only to clients that ask for it (IIS)."""
        try:
            if "UTF8" in self._ftp.sendcmd("FEAT").upper():
                self._ftp.sendcmd("OPTS UTF8 ON")
        except ftplib.error_perm:
            return

    def _list_mlsd(self) -> list[Entry]:
        entries = []
        for name, facts in self._ftp.mlsd():
            kind = facts.get("type", "").lower()
            if kind in ("cdir", "pdir"):
                continue
            size = facts.get("size", "")
            entries.append(
                Entry(
                    name.encode("latin-1"),
                    "file" if kind == "file" else "folder" if kind == "dir" else "other",
                    int(size) if size.isdecimal() else None,
                    _time(facts.get("modify", "")),
                )
            )
        return entries

    def _list(self) -> list[Entry]:
        """LIST, which every server has; sizes and times of files are asked for one by one, since these are exact."""
        lines: list[str] = []
        self._ftp.retrlines("LIST", lines.append)
        entries = []
        for line in lines:
            if not line.strip() or line.startswith("total "):
                continue
            found = _parsed(line)
            if found is None:
                entries.append(Entry(b"", "other"))  # no name can be told: counted as refused
            elif found._st_name not in (".", ".."):
                kind: Kind = "file" if S_ISREG(found.st_mode) else "folder" if S_ISDIR(found.st_mode) else "other"
                entries.append(Entry(found._st_name.encode("latin-1"), kind, found.st_size))
        return entries


class _Tls(ftplib.FTP_TLS):
    """Data connections take up the TLS session of the control connection, as vsftpd and FileZilla Server ask for."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[ssl.SSLSocket, int | None]:
        channel, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321
        control = self.sock
        assert isinstance(control, ssl.SSLSocket)  # noqa: S101  # after login
        return self.context.wrap_socket(channel, server_hostname=self.host, session=control.session), size


def _context(server: FtpServer) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(server.ca_bundle) if server.ca_bundle else None)
    if server.security == "tls_unverified":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _time(text: str) -> datetime | None:
    """A time of RFC 3659, in UTC: 20251122103000, also with a fraction."""
    try:
        return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _parsed(line: str) -> Any:
    """A line of LIST as ftputil's parsers read it, in the format of Unix or of IIS; None if neither can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # on import, of a default that is not used here
        from ftputil.error import ParserError  # type: ignore[import-untyped]  # noqa: PLC0415
        from ftputil.stat import MSParser, UnixParser  # type: ignore[import-untyped]  # noqa: PLC0415
    for parser in (UnixParser(), MSParser()):
        try:
            return parser.parse_line(line)
        except (ParserError, ValueError, IndexError):
            continue
    return None
