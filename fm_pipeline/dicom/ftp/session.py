"""One session with an FTP server: list a folder, read a file from an offset. It never writes or deletes there.

It uses the standard library's ftplib, which has what a pull needs: MLSD with exact sizes and times in UTC (RFC 3659),
REST, and a timeout on both connections. `listing` parses the listings.

Names keep their bytes: the session uses Latin-1, so every byte of a name survives, whether it is UTF-8 or not.
"""

from __future__ import annotations

import errno
import ftplib
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from fm_pipeline.dicom.ftp.connection import (
    CONNECTION_LOST_ERRORS,
    PROTECTION_REPLIES,
    UNKNOWN_COMMAND_REPLIES,
    FtpServer,
    LoggedOut,
    NoDataConnection,
    NoReply,
    NotFtp,
    TransferHeldBack,
    code_of,
    connect_to_server,
    replies_understood,
)
from fm_pipeline.dicom.ftp.listing import RemoteEntry, entries_of_list, entries_of_mlsd, size_of, time_of, with_names
from fm_pipeline.errors import FtpError

__all__ = [
    "CONNECTION_LOST_ERRORS",
    "FileBusy",
    "FtpServer",
    "FtpSession",
    "ListingNotUnderstood",
    "RemoteEntry",
    "ServerHabits",
    "TransferHeldBack",
    "refusal",
]

TIMEOUT_SECONDS = 60.0
BLOCK_BYTES = 256 * 1024
LONGEST_NAME = 255  # bytes, as the usual file systems have it
LARGEST_LISTING = 256 * 1024**2  # bytes: two million names
# Transient replies about a single file: it is being written, or cannot be read (`FileBusy`).
_OF_ONE_FILE = ("450", "451", "452")
_LOGGED_OUT = ("332", "530")
_WANTED_FACTS = ("type", "size", "modify", "unique")
# A folder that may be entered and not read: vsftpd and pure-ftpd send an empty listing, and report its success (226).
_NOT_READ = re.compile("failed to open directory|unable to read", re.IGNORECASE)
_QUOTED = re.compile('"[^"]*"')  # FileZilla Server repeats the path


class FileBusy(Exception):
    """The server cannot send this file, or list this folder, now. The session stays usable."""


class ListingNotUnderstood(Exception):
    """No line of a folder's listing can be parsed; args[0] is the number of lines."""


@contextmanager
def _of_one_file() -> Iterator[None]:
    try:
        yield
    except ftplib.error_temp as error:
        if code_of(error) in _OF_ONE_FILE:
            raise FileBusy from None
        raise
    except ftplib.error_perm as error:
        if code_of(error) in _LOGGED_OUT:
            raise LoggedOut(str(error)) from None  # the session has ended; it is not about this file
        if code_of(error) in PROTECTION_REPLIES:
            raise FtpError(
                f"The FTP server refuses the data connection as it is protected here (reply {code_of(error)}).",
                meaning="Nothing can be listed or read. What was pulled stays.",
                remedy="Check --ftp-security against what the server asks for.",
            ) from None
        raise


def refusal(name: bytes) -> str | None:
    """Return why a name from the server must not be used locally; None if it may. Servers are not trusted."""
    separators = {os.sep.encode(), b"/", *([os.altsep.encode()] if os.altsep else [])}
    if name in (b"", b".", b".."):
        return "name_refused"
    if any(byte in name for byte in (b"\0", b"\r", b"\n", *separators)):
        return "name_refused"
    return "name_too_long" if len(name) > LONGEST_NAME else None


@dataclass
class ServerHabits:
    """The observed behaviour of a server, kept across sessions.

    Attributes:
        mlsd: it supports MLSD, and its listings can be parsed; None: not known yet.
        dash_a: LIST accepts `-a`; None: not known yet.
    """

    mlsd: bool | None = None
    dash_a: bool | None = None


class FtpSession:
    """A session, as a context manager. Entering it connects and logs in.

    Attributes:
        may_hide_dot_files: the last listing may omit names that begin with a dot.

    Raises:
        FtpError: on entering, if the server refuses and another attempt would not help.
            Every method raises one of `CONNECTION_LOST_ERRORS` if the connection is lost.
    """

    def __init__(self, server: FtpServer, *, timeout_seconds: float, habits: ServerHabits | None) -> None:
        self._server = server
        self._timeout = timeout_seconds
        self._ftp: ftplib.FTP = ftplib.FTP()  # noqa: S321  # TLS is the default of the configuration
        self._habits = habits or ServerHabits()
        self.may_hide_dot_files = False

    def __enter__(self) -> Self:
        self._ftp = connect_to_server(self._server, self._timeout)
        try:
            with replies_understood():
                self._negotiate_features()
        except BaseException:
            self._ftp.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            try:
                with replies_understood():
                    self._ftp.quit()
            except (*CONNECTION_LOST_ERRORS, ftplib.Error):
                pass
        self._ftp.close()

    def abandon(self) -> None:
        """Close the connection without QUIT, after it was lost or does not respond."""
        self._ftp.close()

    def entries(self, folder: bytes) -> list[RemoteEntry] | None:
        """List a folder in the server's order; None if it cannot be listed (no permission, or gone).

        Raises:
            ListingNotUnderstood: the listing is not empty, and none of its lines can be parsed.
        """
        try:
            with _of_one_file(), replies_understood():
                found = self._entries(folder)
        except (ftplib.error_perm, FileBusy):
            return None
        if found and all(entry.kind == "not_understood" for entry in found):
            raise ListingNotUnderstood(len(found))
        return found

    def _entries(self, folder: bytes) -> list[RemoteEntry]:
        self._ftp.cwd(folder.decode("latin-1"))
        self.may_hide_dot_files = False
        refused = None
        if self._habits.mlsd is not False:
            try:
                found = entries_of_mlsd(self._lines("MLSD"))
            except ftplib.error_perm as error:
                if code_of(error) in PROTECTION_REPLIES:
                    raise
                if code_of(error) in UNKNOWN_COMMAND_REPLIES:
                    self._habits.mlsd = False
                else:
                    refused = error
            else:
                if not found or any(entry.kind != "not_understood" for entry in found):
                    self._habits.mlsd = True
                    return found
                self._habits.mlsd = False
        found = self._list()
        if refused and not found and not self._habits.dash_a:
            raise refused  # proftpd refuses MLSD of a folder that it cannot read, and sends an empty LIST
        if refused and found and self._habits.mlsd is None:
            self._habits.mlsd = False  # it refuses MLSD of a folder that can be read: so it does with empty ones
        return found

    def facts(self, path: bytes) -> tuple[int | None, datetime | None]:
        """Return the current size and time of a file; None for a value that the server does not report."""
        text = path.decode("latin-1")
        with replies_understood():
            self._binary()
            return size_of(self._asked(f"SIZE {text}")), time_of(self._asked(f"MDTM {text}"))

    def _asked(self, command: str) -> str:
        """Return the first word of a reply; empty if there is none."""
        try:
            return (self._ftp.voidcmd(command)[4:].split() or [""])[0]
        except ftplib.error_perm as error:
            if code_of(error) in _LOGGED_OUT:
                raise LoggedOut(str(error)) from None
            return ""

    def read(self, path: bytes, offset: int, write: Callable[[bytes], object]) -> bool:
        """Pass the bytes of a file from an offset to `write`. After an exception of `write`, close the session.

        Returns:
            False if the server does not support offsets; then nothing was written.

        Raises:
            FileBusy: the server cannot send the file now.
        """
        with _of_one_file():
            with replies_understood():
                self._binary()
            try:
                self._transfer(f"RETR {path.decode('latin-1')}", write, offset or None)
            except ftplib.error_perm as error:
                if offset and code_of(error) in UNKNOWN_COMMAND_REPLIES:
                    return False
                raise
        return True

    def _transfer(self, command: str, write: Callable[[bytes], object], offset: int | None = None) -> bool:
        """Read a whole data connection.

        The reply on the control connection (226) tells whether it is complete. Many servers close a TLS data connection
        without the alert close_notify, so a missing one is not an error.

        Returns:
            Whether the connection was closed as TLS requires; True without TLS.
        """
        with replies_understood():
            try:
                channel, _ = self._ftp.ntransfercmd(command, offset)
            except NoReply:
                raise (TransferHeldBack if command.startswith("RETR ") else NoReply) from None
            except (ConnectionRefusedError, TimeoutError):
                raise NoDataConnection from None
            except OSError as error:
                if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
                    raise NoDataConnection from None
                raise
        ended, received = True, False
        with channel:
            while block := self._block(channel, held=command.startswith("RETR ") and not received):
                received = True
                write(block)
            if isinstance(channel, ssl.SSLSocket):
                try:
                    channel.unwrap()
                except (OSError, ValueError):
                    ended = False
        with replies_understood():
            reply = self._ftp.voidresp()
        if not received and not command.startswith("RETR ") and _NOT_READ.search(_QUOTED.sub("", reply)):
            raise ftplib.error_perm(reply)  # noqa: S321  # an exception
        return ended

    @staticmethod
    def _block(channel: socket.socket, *, held: bool) -> bytes:
        try:
            return channel.recv(BLOCK_BYTES)
        except TimeoutError:
            if held:
                raise TransferHeldBack from None
            raise

    def _binary(self) -> None:
        """Switch to binary before a transfer: listings use TYPE A, which converts line ends."""
        self._ftp.voidcmd("TYPE I")

    def _negotiate_features(self) -> None:
        """Request UTF-8 names, which IIS sends only on request, and the facts of MLSD (RFC 3659, 7.9)."""
        try:
            features = self._ftp.sendcmd("FEAT")
            if "UTF8" in features.upper():
                self._ftp.sendcmd("OPTS UTF8 ON")
            facts = re.search(r"^ *MLST +(.*)$", features, re.IGNORECASE | re.MULTILINE)
            given = facts[1].lower().split(";") if facts else []
            if any(fact in given for fact in _WANTED_FACTS):  # one that is given unasked has a star
                self._ftp.sendcmd("OPTS MLST type;size;modify;unique;")
        except ftplib.error_perm:
            return

    def _list(self) -> list[RemoteEntry]:
        """List with LIST, which every server has. Exact sizes and times are requested for each file later."""
        found = entries_of_list(self._lines("LIST -a")) if self._habits.dash_a else self._first_lists()
        if any(entry.other_names for entry in found):
            found = with_names(found, self._lines_if_given("NLST"))
        return found

    def _first_lists(self) -> list[RemoteEntry]:
        """List with LIST, and try LIST -a until it is known whether the server accepts it.

        vsftpd shows names that begin with a dot only with `-a`. Others take `-a` for a name; then it is not used.
        """
        plain = entries_of_list(self._lines("LIST"))
        shown = _dotted(plain)
        if shown or self._habits.dash_a is False:
            self.may_hide_dot_files = bool(plain) and not shown
            return plain
        self._habits.dash_a = False  # also if the connection does not survive the question
        lines = self._lines_if_given("LIST -a")
        everything = entries_of_list(lines)
        covered = {entry.name for entry in plain} <= {entry.name for entry in everything}
        if covered and (_dotted(everything) or any(line.rstrip(b"/").endswith(b" .") for line in lines)):
            self._habits.dash_a = True
            return everything
        if not plain:
            self._habits.dash_a = None
        self.may_hide_dot_files = bool(plain)
        return plain

    def _lines_if_given(self, command: str) -> list[bytes]:
        """Return the lines of a listing; none if the server refuses the command."""
        try:
            return self._lines(command)
        except ftplib.error_perm:
            return []
        except ftplib.error_temp as error:
            if code_of(error) in _OF_ONE_FILE:
                return []
            raise

    def _lines(self, command: str) -> list[bytes]:
        """Return the lines of a text transfer.

        Raises:
            EOFError: it ended in the middle of a line.
        """
        content = bytearray()

        def take(block: bytes) -> None:
            content.extend(block)
            if len(content) > LARGEST_LISTING:
                raise NotFtp("a listing without an end")

        self._ftp.voidcmd("TYPE A")
        ended = self._transfer(command, take)
        if not ended and content and not content.endswith(b"\n"):
            raise EOFError
        return [line.removesuffix(b"\r") for line in bytes(content).removesuffix(b"\n").split(b"\n")] if content else []


def _dotted(entries: Sequence[RemoteEntry]) -> bool:
    return any(entry.name.startswith(b".") for entry in entries)
