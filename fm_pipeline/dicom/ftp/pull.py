"""Pull files from an FTP server into a folder of the watched directory. Off by default. Nothing is deleted there.

A file gets its name only when it is complete. It is written under a hidden name that ends in `.partial`, its size is
compared with the server's before and after, and then it is renamed. `fm_pipeline.ftp_files` records pulled files by
size and time, so a second pull transfers nothing, and an interrupted pull continues (REST, RFC 3659).

The order of writes: "pulling" in the ledger, data, fsync, rename, fsync of the folder, "pulled" in the ledger. After a
kill at any point, the next pull repeats at most one file. A power failure loses no file that the ledger has as pulled.
"""

from __future__ import annotations

import errno
import ftplib
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fm_pipeline.dicom.ftp.disk import (
    FREE_BYTES,
    NAME_ERRORS,
    LocalDiskError,
    begins_with,
    disk_error,
    exists,
    is_file_of_size,
    keep_earlier,
    on_local_disk,
    sync_directory,
    write_all,
)
from fm_pipeline.dicom.ftp.folder_errors import no_folder, unknown_listing
from fm_pipeline.dicom.ftp.ftp_ledger import FtpLedger, PulledFile
from fm_pipeline.dicom.ftp.pull_report import PullReport
from fm_pipeline.dicom.ftp.retrying_session import ConnectionLostAtFile, RetryingFtpSession
from fm_pipeline.dicom.ftp.session import FileBusy, FtpSession, ListingNotUnderstood, RemoteEntry, refusal
from fm_pipeline.dicom.scan.excluded_folders import KNOWN, ExcludedFolders
from fm_pipeline.dicom.scan.excluded_folders import REASON as EXCLUDED_FOLDER

DEEPEST = 64  # nested folders: links on the server can form a cycle
UNFINISHED = (b".partial", b".part", b".tmp", b".filepart", b".crdownload")


class _Skip(Exception):
    """The current file is not pulled; args[0] is the reason."""


@dataclass(frozen=True)
class _Folder:
    """A folder to list.

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
    """A file to pull; `path` is on the server, `target` on the local disk."""

    path: bytes
    target: Path
    size: int
    modified: datetime | None

    @property
    def partial(self) -> Path:
        """The hidden name of the incomplete file. Its length does not depend on the name of the file."""
        return self.target.with_name(f".{hashlib.sha256(self.path).hexdigest()[:24]}.partial")


class Pull:
    """One pull.

    Args:
        session: of the server.
        ledger: of the same server.
        folder: created if it is missing. It mirrors the tree below `path`.
        path: folder on the server.
        excluded: the folders that are excluded by name.
        on_progress: called with the current report after each block and each file.
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
            FtpError: the server refuses or is unavailable, or the local disk fails. `report` has what was done.
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
        """List a folder; None if it cannot be listed.

        Raises:
            FtpError: the configured folder cannot be listed.
        """

        def look(session: FtpSession) -> tuple[list[RemoteEntry] | None, bool]:
            return session.entries(folder), session.may_hide_dot_files

        top = folder == self._path
        try:
            entries, hidden = self._session(look)
        except ListingNotUnderstood as fault:
            if top:
                raise unknown_listing(fault.args[0]) from None
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
            raise no_folder()
        self.report.folders_without_dot_files += hidden
        return entries

    def _sorted(
        self, folder: bytes, entries: Sequence[RemoteEntry], *, deeper: bool
    ) -> tuple[list[RemoteEntry], dict[bytes, bytes]]:
        """Return the files, and the folders with their ids. Other entries are counted by reason."""
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
        known = self._ledger.known(
            {path: self._target(path) for path in (_joined(folder, each.name) for each in files)}
        )
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

    def _target(self, path: bytes) -> Path:
        """Return the local path of a file on the server."""
        return self._folder / os.fsdecode(path.removeprefix(self._path).lstrip(b"/"))

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
            self.report.known_by_size += modified is None
            return
        if before == PulledFile(size, modified, "differs"):
            raise _Skip("local_file_exists")
        wanted = _Wanted(path, self._target(path), size, modified)
        compares = self._prepare(wanted, before)
        if not compares:
            self._ledger.write(path, wanted.target, PulledFile(size, modified, "pulling"))
        try:
            resumed = self._fetch(wanted)
        except ftplib.error_perm:
            self._drop_part(wanted, before, size_at_most=wanted.size)
            raise
        except BaseException:
            self._drop_part(wanted, before, size_at_most=0)
            raise
        self._session.progressed()
        if compares:
            # Pulled before the server got another name, or since the backup from which the database was restored
            is_same = begins_with(wanted.partial, wanted.target)
            on_local_disk(wanted.partial.unlink)
            self._ledger.write(path, wanted.target, PulledFile(size, modified, "pulled" if is_same else "differs"))
            if not is_same:
                raise _Skip("local_file_exists")
            self.report.known += 1
            return
        try:
            self.report.kept += keep_earlier(wanted.target, wanted.partial, self._ledger.is_recorded)
            os.replace(wanted.partial, wanted.target)
        except OSError as error:
            if error.errno not in NAME_ERRORS:
                raise LocalDiskError(error) from None
            self._drop_part(wanted, before, size_at_most=wanted.size)
            raise _Skip("name_too_long") from None
        sync_directory(wanted.target.parent)
        self._ledger.write(path, wanted.target, PulledFile(size, modified, "pulled"))
        self.report.pulled += 1
        self.report.resumed += resumed

    def _prepare(self, wanted: _Wanted, before: PulledFile | None) -> bool:
        """Prepare the target of a file: it must lie in our folder and belong to nobody else.

        Returns:
            Whether a file of this size is there that the ledger does not know. It is compared, never overwritten.
        """
        try:
            compares = (before is None or before.state == "differs") and exists(wanted.target)
            if compares and not is_file_of_size(wanted.target, wanted.size):
                raise _Skip("local_file_exists")
            wanted.target.parent.mkdir(parents=True, exist_ok=True)
            if not Path(os.path.realpath(wanted.target.parent)).is_relative_to(os.path.realpath(self._folder)):
                raise _Skip("local_link")
            if before is None or (before.size, before.modified) != (wanted.size, wanted.modified):
                wanted.partial.unlink(missing_ok=True)  # a part of something else
            if wanted.target.is_dir():
                raise _Skip("local_file_exists")
            return compares
        except (FileExistsError, NotADirectoryError):
            raise _Skip("local_file_exists") from None
        except OSError as error:
            if error.errno in NAME_ERRORS:
                raise _Skip("name_too_long") from None
            raise LocalDiskError(error) from None

    def _drop_part(self, wanted: _Wanted, before: PulledFile | None, *, size_at_most: int) -> None:
        """Delete a partial file that will not be continued."""
        with suppress(OSError):
            if wanted.partial.stat().st_size > size_at_most:
                return
            wanted.partial.unlink()
        if before is None:
            self._ledger.forget(wanted.path)

    def _fetch(self, wanted: _Wanted) -> bool:
        """Download into the partial file. Return whether it was continued."""
        handle = on_local_disk(
            lambda: os.open(wanted.partial, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640)
        )
        try:
            begun = os.fstat(handle).st_size
            if begun > wanted.size:
                on_local_disk(lambda: os.ftruncate(handle, 0))
                begun = 0
            if on_local_disk(lambda: shutil.disk_usage(wanted.partial.parent)).free < wanted.size - begun + FREE_BYTES:
                raise LocalDiskError(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            self._session(lambda session: self._rest_of(session, wanted, handle))
            size, modified = self._session(lambda session: session.facts(wanted.path))
            here = os.fstat(handle).st_size
            if size not in (None, wanted.size) or modified not in (None, wanted.modified) or here > wanted.size:
                on_local_disk(lambda: os.ftruncate(handle, 0))
                raise _Skip("changed_while_pulled")  # still being written there; the next pull looks again
            if here < wanted.size:
                raise _Skip("cut_short")  # the part stays
            on_local_disk(lambda: os.fsync(handle))
        finally:
            os.close(handle)
        return begun > 0

    def _rest_of(self, session: FtpSession, wanted: _Wanted, handle: int) -> None:
        """Download the rest of a file. Repeat as long as the server sends more, because it may end early silently."""

        here = os.fstat(handle).st_size

        def write(block: bytes) -> None:
            nonlocal here
            on_local_disk(lambda: write_all(handle, block))
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
                    on_local_disk(lambda: os.ftruncate(handle, 0))  # a server without REST: from the beginning
                    here, before = 0, -1
                    session.read(wanted.path, 0, write)
            except _TooLong:
                raise EOFError from None


class _TooLong(Exception):
    """The server sends more bytes than the size of the file."""


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder.rstrip(b"/") + b"/" + name
