"""The ledger of pulled files, `fm_pipeline.ftp_files`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from psycopg2.extensions import connection as Connection

from fm_pipeline.db.locks import AdvisoryLock, try_lock
from fm_pipeline.dicom.ftp.disk import is_gone
from fm_pipeline.dicom.history.rows import bigint
from fm_pipeline.dicom.model import Outcome
from fm_pipeline.dicom.paths import erased_remote_path, path_hash
from fm_pipeline.dicom.reasons import ARCHIVES, HOLDS_ANOTHER, NOT_STORED
from fm_pipeline.errors import RequestError

# Outcomes and reasons of a file that may be wanted again. What a link in an archive leads to has a row of its own.
_NOT_IN_ORTHANC = [Outcome.FAILED, Outcome.SUSPECT, Outcome.CONFLICT]
_WANTED_FLAGS = [HOLDS_ANOTHER]  # nobody has the second instance yet
_WANTED = sorted(ARCHIVES.keys() - {"archive_opened", "archive_without_dicom", "link_in_archive"} | NOT_STORED.keys())


class PulledFile(NamedTuple):
    """A file in the ledger: its size and time on the server when it was pulled, or compared.

    Attributes:
        state: `differs` if its name is that of another local file of the same size, so that it was not pulled.
    """

    size: int
    modified: datetime | None
    state: Literal["pulling", "pulled", "differs"]


class FtpLedger:
    """The ledger of one server.

    Args:
        connection: to the migrated database; committed after each write.
        server: `FtpServer.name`.
    """

    def __init__(self, connection: Connection, server: str) -> None:
        self._connection = connection
        self._server = server

    def known(self, targets: Mapping[bytes, Path]) -> dict[bytes, PulledFile]:
        """Return the entries of files, also those of erased patients.

        A file that was pulled to this local path and is gone, and that no import has recorded, is left out: it has to
        be pulled again. One that was pulled to another path is not looked for: the folder was moved or changed. One
        that differs from a local file is left out if that file has changed or is gone.

        Args:
            targets: the local paths by the paths on the server.
        """
        erased = {erased_remote_path(path): path for path in targets}
        pulled_to: dict[bytes, str | None] = {}
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT remote_path, local_hash::text, differs_from::text, size_bytes, modified_at, state"
                " FROM fm_pipeline.ftp_files"
                " WHERE server = %s AND remote_path = ANY(%s::bytea[])",
                (self._server, [*targets, *erased]),
            )
            found, differs_from = {}, {}
            for remote, local, other, *rest in cursor.fetchall():
                key = bytes(remote)
                found[key], pulled_to[key], differs_from[key] = PulledFile(*rest), local, other
            hashes = {path: path_hash(str(targets[path])) for path in found.keys() & targets.keys()}
            gone = {
                here: path
                for path, here in hashes.items()
                if found[path].state == "pulled" and pulled_to[path] == here and is_gone(targets[path])
            }
            cursor.execute(
                "SELECT DISTINCT path_hash::text FROM fm_pipeline.import_history WHERE path_hash = ANY(%s::uuid[])",
                (list(gone),),
            )
            lost = set(gone.values()) - {gone[key] for (key,) in cursor.fetchall()}
        self._connection.commit()
        for path in [path for path in hashes if found[path].state == "differs"]:
            here = _hash_of_local_file(targets[path])
            if here is None or differs_from[path] != here:
                del found[path]
        of_erased = {path: found[hashed] for hashed, path in erased.items() if hashed in found}
        return of_erased | {path: found[path] for path in targets if path in found and path not in lost}

    def write(self, path: bytes, target: Path, now: PulledFile) -> None:
        """Write the entry of a file, whose local path is `target`."""
        differs_from = _hash_of_local_file(target) if now.state == "differs" else None
        with self._connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO fm_pipeline.ftp_files AS f
                    (server, remote_path, local_hash, differs_from, size_bytes, modified_at, state, pulled_at)
                VALUES (%s, %s, %s::uuid, %s::uuid, %s, %s, %s, CASE WHEN %s = 'pulled' THEN clock_timestamp() END)
                ON CONFLICT (server, remote_path) DO UPDATE SET
                    size_bytes = excluded.size_bytes, modified_at = excluded.modified_at, state = excluded.state,
                    local_hash = excluded.local_hash, differs_from = excluded.differs_from,
                    started_at = CASE WHEN excluded.state = 'pulled' THEN f.started_at ELSE excluded.started_at END,
                    pulled_at = excluded.pulled_at
                """,
                (self._server, path, path_hash(str(target)), differs_from, *now, now.state),
            )
        self._connection.commit()

    def is_recorded(self, target: Path, facts: os.stat_result) -> bool:
        """Return whether an import has recorded a local file as it is now, and its content is not wanted any more."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "WITH latest AS (SELECT * FROM fm_pipeline.import_history"
                "  WHERE path_hash = %(path)s ORDER BY id DESC LIMIT 1)"
                " SELECT true FROM latest WHERE file_size_bytes = %(size)s AND modified_ns = %(modified)s"
                " AND missing_since IS NULL AND removal_id IS NULL AND status <> ALL(%(outcomes)s)"
                " AND coalesce(reason, '') <> ALL(%(reasons)s) AND NOT flags && %(flags)s"
                # A file of an opened archive may be wanted although the archive is not.
                " AND (reason IS DISTINCT FROM 'archive_opened' OR NOT EXISTS ("
                "  SELECT FROM (SELECT DISTINCT ON (path_hash) status, reason, flags FROM fm_pipeline.import_history"
                "   WHERE archive_hash = latest.path_hash ORDER BY path_hash, id DESC) member"
                "  WHERE member.status = ANY(%(outcomes)s) OR member.reason = ANY(%(reasons)s)"
                "  OR member.flags && %(flags)s))",
                {
                    "path": path_hash(str(target)),
                    "size": facts.st_size,
                    "modified": bigint(facts.st_mtime_ns),
                    "outcomes": _NOT_IN_ORTHANC,
                    "reasons": _WANTED,
                    "flags": _WANTED_FLAGS,
                },
            )
            is_recorded = cursor.fetchone() is not None
        self._connection.commit()
        return is_recorded

    def forget(self, path: bytes) -> None:
        """Delete the entry of a file of which nothing was pulled."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM fm_pipeline.ftp_files WHERE server = %s AND remote_path = %s AND state = 'pulling'",
                (self._server, path),
            )
        self._connection.commit()


def _hash_of_local_file(path: Path) -> str | None:
    """Return a hash of the path, size and time of a local file; None if it cannot be looked at."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return path_hash(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}")


@contextmanager
def only_one_pull(connection: Connection) -> Iterator[None]:
    """Hold the lock of pulls: two pulls would write to the same files. The lock ends with the connection.

    Raises:
        RequestError: another pull runs.
    """
    with connection.cursor() as cursor:
        is_ours = try_lock(cursor, AdvisoryLock("ftp"), until="session")
        connection.commit()
        if not is_ours:
            raise RequestError("Another pull from the FTP server runs.", remedy="Wait until it has ended.")
        yield
