"""Pull files from an FTP server into a folder of the watched directory. Off by default; nothing is deleted there.

A file has its name only when it is complete: it arrives under a hidden name that ends in `.partial`, its size is held
against the server's, before and after, and then it is renamed. What was pulled stands in `fm_pipeline.ftp_files` by
size and time, so a second pull fetches nothing, and a pull that was cut goes on where it was (REST, RFC 3659).

Order of what is written: "pulling" in the ledger, bytes, fsync, rename, fsync of the folder, "pulled" in the ledger.
Killed anywhere, the next pull fetches at most one file again; a power cut takes no file that the ledger has as pulled.
"""

from __future__ import annotations

import errno
import ftplib
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fm_pipeline.dicom.ftp.disk import (
    FREE_BYTES,
    NAME_ERRORS,
    LocalDiskError,
    disk_error,
    exists,
    on_our_disk,
    sync_directory,
    write_all,
)
from fm_pipeline.dicom.ftp.ftp_ledger import FtpLedger, PulledFile
from fm_pipeline.dicom.ftp.retrying_session import ConnectionLostAtFile, RetryingFtpSession
from fm_pipeline.dicom.ftp.session import FileBusy, FtpSession, ListingNotUnderstood, RemoteEntry, refusal
from fm_pipeline.dicom.scan.excluded_folders import KNOWN, ExcludedFolders
from fm_pipeline.dicom.scan.excluded_folders import REASON as EXCLUDED_FOLDER
from fm_pipeline.errors import FtpError
from fm_pipeline.pluralize import counted

DEEPEST = 64  # folders in each other: links on the server can make a circle
# Reasons for which a name is left where it is and nothing is missing here.
_NOT_MISSING = frozenset({"link_or_special", "unfinished_name", "listed_twice", EXCLUDED_FOLDER})
UNFINISHED = (b".partial", b".part", b".tmp", b".filepart", b".crdownload")


@dataclass
class PullReport:
    """What a pull did. listed = pulled + known + the sum of skipped.

    Attributes:
        known: pulled earlier, with the same size and time.
        resumed: of the pulled ones, those that went on from a part.
        skipped: names by reason.
        unlisted_folders: which the server did not let us list, or of whose listing nothing was understood; what is in
            them is not in `listed`.
        folders_without_dot_files: listed in a way that may leave out names that begin with a dot.
    """

    listed: int = 0
    pulled: int = 0
    known: int = 0
    resumed: int = 0
    bytes: int = 0
    unlisted_folders: int = 0
    folders_without_dot_files: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def complete(self) -> bool:
        """Whether everything on the server is here."""
        return not self.skipped and not self.unlisted_folders

    @property
    def missing(self) -> bool:
        """Whether something that should be here is not. Links and unfinished names should not."""
        return bool(self.unlisted_folders or self.skipped.keys() - _NOT_MISSING)


class _Skip(Exception):
    """The file at hand is not pulled; args[0] is the reason."""


@dataclass(frozen=True)
class _Folder:
    """A folder to look into.

    Some servers show a link to a folder as that folder, so that folders may lie in themselves without an end. A folder
    that has both the id and the listing of one above it is that one.

    Attributes:
        unique: `RemoteEntry.unique`.
        above: ids and hashes of the listings of the folders that it lies in.
    """

    path: bytes
    depth: int = 0
    unique: bytes = b""
    above: frozenset[tuple[bytes, int]] = frozenset()


@dataclass(frozen=True)
class _Wanted:
    """A file to fetch; `path` is the server's, `target` ours."""

    path: bytes
    target: Path
    size: int
    modified: datetime | None

    @property
    def partial(self) -> Path:
        """Hidden, and short enough beside every name."""
        return self.target.with_name(f".{hashlib.sha256(self.path).hexdigest()[:24]}.partial")


class Pull:
    """One pull.

    Args:
        session: of the server.
        ledger: of the same server.
        folder: made if it is missing; files land under it as they lie under `path` on the server.
        path: folder on the server.
        excluded: folders that are left out by name, as everywhere.
        on_progress: called with the report as it is, after each block of bytes and each file.
    """

    def __init__(
        self,
        session: RetryingFtpSession,
        ledger: FtpLedger,
        folder: Path,
        *,
        path: str = "/",
        excluded: ExcludedFolders = KNOWN,
        on_progress: Callable[[PullReport], object] = lambda _: None,
    ) -> None:
        self._session = session
        self._ledger = ledger
        self._folder = folder
        self._path = os.fsencode(path).rstrip(b"/") or b"/"
        self._excluded = excluded
        self._on_progress = on_progress
        self.report = PullReport()

    def run(self) -> PullReport:
        """Pull everything that is new.

        Raises:
            FtpError: the server refuses, stays away, or our disk cannot take it. `report` tells what was done.
        """
        waiting = [_Folder(self._path)]
        try:
            while waiting:
                folder = waiting.pop()
                entries = self._listed(folder.path)
                if entries is None:
                    self.report.unlisted_folders += 1
                    continue
                within = folder.above | {(folder.unique, hash(frozenset(entries)))}
                if folder.unique and within == folder.above:
                    self.report.listed += 1
                    self.report.skipped["link_or_special"] += 1
                    continue
                files, folders = self._sorted(folder.path, entries, deeper=folder.depth < DEEPEST)
                waiting += [
                    _Folder(_joined(folder.path, name), folder.depth + 1, folders[name], within)
                    for name in reversed(folders)
                ]
                self._pull(folder.path, files)
        except LocalDiskError as fault:
            raise disk_error(fault.args[0]) from None
        finally:
            self._session.close()
        return self.report

    def _listed(self, folder: bytes) -> list[RemoteEntry] | None:
        """What is in a folder; None if that cannot be told.

        Raises:
            FtpError: it is the folder that is configured.
        """

        def look(session: FtpSession) -> tuple[list[RemoteEntry] | None, bool]:
            return session.entries(folder), session.may_hide_dot_files

        top = folder == self._path
        try:
            entries, hidden = self._session(look)
        except ListingNotUnderstood as fault:
            if top:
                raise _unknown_listing(fault.args[0]) from None
            entries, hidden = None, False
        except ConnectionLostAtFile as fault:
            if top:
                raise self._session.given_up(fault) from None
            entries, hidden = None, False
        except FileBusy:
            entries, hidden = None, False
        else:
            self._session.progressed()
        if entries is None and top:
            raise _no_folder()
        self.report.folders_without_dot_files += hidden
        return entries

    def _sorted(
        self, folder: bytes, entries: Sequence[RemoteEntry], *, deeper: bool
    ) -> tuple[list[RemoteEntry], dict[bytes, bytes]]:
        """Files to look at, and folders to go into with their ids; everything else is counted by its reason."""
        files: dict[bytes, RemoteEntry] = {}
        folders: dict[bytes, bytes] = {}
        for entry in entries:
            reason = "listing_not_understood" if entry.kind == "not_understood" else refusal(entry.name)
            if (
                entry.kind == "folder"
                and reason is None
                and self._excluded.excludes(*map(os.fsdecode, (folder, entry.name)))
            ):
                reason = EXCLUDED_FOLDER
            if entry.kind == "folder" and reason is None and deeper:
                folders[entry.name] = entry.unique
                continue
            self.report.listed += 1
            if reason is None and entry.kind != "file":
                reason = "too_deep" if entry.kind == "folder" else "link_or_special"
            if reason is None and entry.name.lower().endswith(UNFINISHED):
                reason = "unfinished_name"
            if reason is None and entry.name in files:
                reason = "listed_twice"
            if reason:
                self.report.skipped[reason] += 1
            else:
                files[entry.name] = entry
        return list(files.values()), folders

    def _pull(self, folder: bytes, files: Sequence[RemoteEntry]) -> None:
        known = self._ledger.known([_joined(folder, entry.name) for entry in files])
        for entry in files:
            try:
                self._one(_joined(folder, entry.name), entry, known)
            except _Skip as skip:
                self.report.skipped[skip.args[0]] += 1
            except FileBusy:
                self.report.skipped["busy_on_server"] += 1  # the next pull looks again
            except ConnectionLostAtFile:
                self.report.skipped["cut_short"] += 1  # the part stays
            except ftplib.error_perm:
                self.report.skipped["refused_by_server"] += 1  # no right to read it, or gone since the listing
            self._on_progress(self.report)

    def _one(self, path: bytes, entry: RemoteEntry, known: Mapping[bytes, PulledFile]) -> None:
        size, modified = entry.size, entry.modified
        if size is None or modified is None:
            asked_size, asked_modified = self._session(lambda session: session.facts(path))
            size, modified = (size if asked_size is None else asked_size), modified or asked_modified
        if size is None:
            raise _Skip("size_unknown")
        before = known.get(path)
        if before == PulledFile(size, modified, "pulled"):
            self.report.known += 1
            return
        below = path.removeprefix(self._path).lstrip(b"/")
        wanted = _Wanted(path, self._folder / os.fsdecode(below), size, modified)
        self._prepare(wanted, before)
        self._ledger.write(path, PulledFile(size, modified, "pulling"))
        try:
            resumed = self._fetch(wanted)
        except ftplib.error_perm:
            self._drop_part(wanted, before, size_at_most=wanted.size)
            raise
        except BaseException:
            self._drop_part(wanted, before, size_at_most=0)
            raise
        self._session.progressed()
        try:
            os.replace(wanted.partial, wanted.target)
        except OSError as error:
            if error.errno not in NAME_ERRORS:
                raise LocalDiskError(error) from None
            self._drop_part(wanted, before, size_at_most=wanted.size)
            raise _Skip("name_too_long") from None
        sync_directory(wanted.target.parent)
        self._ledger.write(path, PulledFile(size, modified, "pulled"))
        self.report.pulled += 1
        self.report.resumed += resumed

    def _prepare(self, wanted: _Wanted, before: PulledFile | None) -> None:
        """Have a place for it, which is nobody else's and lies in our folder."""
        try:
            if exists(wanted.target) and before is None:
                raise _Skip("local_file_exists")  # somebody else's: never overwritten
            wanted.target.parent.mkdir(parents=True, exist_ok=True)
            if not Path(os.path.realpath(wanted.target.parent)).is_relative_to(os.path.realpath(self._folder)):
                raise _Skip("local_link")
            if before is None or (before.size, before.modified) != (wanted.size, wanted.modified):
                wanted.partial.unlink(missing_ok=True)  # a part of something else
            if wanted.target.is_dir():
                raise _Skip("local_file_exists")
        except (FileExistsError, NotADirectoryError):
            raise _Skip("local_file_exists") from None
        except OSError as error:
            if error.errno in NAME_ERRORS:
                raise _Skip("name_too_long") from None
            raise LocalDiskError(error) from None

    def _drop_part(self, wanted: _Wanted, before: PulledFile | None, *, size_at_most: int) -> None:
        """Leave no part behind that nobody goes on with."""
        with suppress(OSError):
            if wanted.partial.stat().st_size > size_at_most:
                return
            wanted.partial.unlink()
        if before is None:
            self._ledger.forget(wanted.path)

    def _fetch(self, wanted: _Wanted) -> bool:
        """Bring all bytes into the partial file; whether it went on from a part."""
        handle = on_our_disk(
            lambda: os.open(wanted.partial, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640)
        )
        try:
            begun = os.fstat(handle).st_size
            if begun > wanted.size:
                on_our_disk(lambda: os.ftruncate(handle, 0))
                begun = 0
            if on_our_disk(lambda: shutil.disk_usage(wanted.partial.parent)).free < wanted.size - begun + FREE_BYTES:
                raise LocalDiskError(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            self._session(lambda session: self._rest_of(session, wanted, handle))
            size, modified = self._session(lambda session: session.facts(wanted.path))
            here = os.fstat(handle).st_size
            if size not in (None, wanted.size) or modified not in (None, wanted.modified) or here > wanted.size:
                on_our_disk(lambda: os.ftruncate(handle, 0))
                raise _Skip("changed_while_pulled")  # still being written there; the next pull looks again
            if here < wanted.size:
                raise _Skip("cut_short")  # the part stays
            on_our_disk(lambda: os.fsync(handle))
        finally:
            os.close(handle)
        return begun > 0

    def _rest_of(self, session: FtpSession, wanted: _Wanted, handle: int) -> None:
        """What is missing; as long as the server gives more, when it ends early without a word."""

        here = os.fstat(handle).st_size

        def write(block: bytes) -> None:
            nonlocal here
            on_our_disk(lambda: write_all(handle, block))
            here += len(block)
            self.report.bytes += len(block)
            self._session.progressed()
            self._on_progress(self.report)
            if here > wanted.size:
                raise _TooLong

        before = -1
        while before < here < wanted.size or (before < 0 and wanted.size == 0):  # a FIFO may be listed as an empty file
            before = here
            try:
                if not session.read(wanted.path, here, write):
                    on_our_disk(lambda: os.ftruncate(handle, 0))  # a server without REST: from the beginning
                    here, before = 0, -1
                    session.read(wanted.path, 0, write)
            except _TooLong:
                raise EOFError from None


class _TooLong(Exception):
    """The server sends more than the file has."""


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder.rstrip(b"/") + b"/" + name


def _unknown_listing(lines: int) -> FtpError:
    return FtpError(
        f"The FTP server lists the configured folder in a form that is not known: {counted(lines, 'line')}, and none"
        " could be read.",
        meaning="Nothing was pulled; nothing is known of what lies there.",
        remedy="Turn on MLSD (RFC 3659) on the server, or let it list as UNIX or MS-DOS does.",
    )


def _no_folder() -> FtpError:
    return FtpError(
        "The FTP server does not list the configured folder.",
        meaning="It is not there, or the account may not see it. Nothing was pulled.",
        remedy="Check --ftp-path, which begins at the account's own root, and the account's rights on it.",
    )
