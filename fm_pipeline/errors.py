"""The tree of errors. Every message says what happened, what it means and what to do next.

    PipelineError
    ├── SettingsError            a setting is missing or cannot be read
    ├── MappingError             a mapping profile is wrong, or does not fit the layouts
    ├── FileMakerError           anything that FileMaker Server answered or did not answer
    │   └── (leaves in fm_pipeline.filemaker.errors)
    ├── DicomError               a directory of DICOM files, or what was asked about it
    │   └── (leaves in fm_pipeline.dicom.errors)
    ├── DatabaseError            PostgreSQL refused; only SQLSTATE and object names, never a value
    ├── StorageError             S3 refused or did not answer; only its code, never a key
    │   └── ObjectExists         (fm_pipeline.storage.bucket) the key is taken by other bytes
    ├── RequestError             a request that cannot be fulfilled: a wrong value, a forbidden path, no such job
    ├── FtpError                 the FTP server refused, failed or did not answer
    ├── UnforeseenError          an unexpected error of a library or of ours; its class and place, not its text
    └── Stop                     a rule forbids to continue; nothing has been changed
        ├── StagingStop          the source rows break a rule whose action is `stop`
        ├── CatalogueStop        the Nexus schema holds something that no policy covers
        ├── PlanStop             no plan, a stale plan, a wrong confirmation, or no backup of what would change
        ├── LockStop             somebody else holds a lock on the tables, or another reimport runs
        ├── ValidationStop       the result of the transaction is not what it must be
        └── ImageStop            an export of images cannot be read, contradicts itself, or was never read

No message carries a value of a record: FileMaker ids, record ids, rule ids and counts only.
"""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FRAMES = 5  # of an unforeseen error: enough to find it
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FILE = ("SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_NOTADB")


class PipelineError(Exception):
    """Base of all errors of this project.

    Args:
        what: what happened, one sentence.
        meaning: the consequence, for example "Nexus is unchanged."
        remedy: what the reader can do next.
    """

    def __init__(self, what: str, *, meaning: str = "", remedy: str = "") -> None:
        self.what = what
        self.meaning = meaning
        self.remedy = remedy
        super().__init__(" ".join(part for part in (what, meaning, remedy) if part))


class SettingsError(PipelineError):
    """A setting is missing or cannot be read. What is done with it has not begun, whatever else was done before."""

    def __init__(self, what: str, *, meaning: str = "Nothing was sent with it.", remedy: str = "") -> None:
        super().__init__(what, meaning=meaning, remedy=remedy)


class MappingError(PipelineError):
    """A mapping profile is wrong, or does not fit the layouts of the server."""


class FileMakerError(PipelineError):
    """FileMaker Server refused, failed or did not answer."""


class DicomError(PipelineError):
    """A directory of DICOM files cannot be read, or must not be."""


class DatabaseError(PipelineError):
    """PostgreSQL refused a statement. Carries SQLSTATE and names of objects, never a value of a row."""

    def __init__(self, what: str, *, sqlstate: str | None = None, meaning: str = "", remedy: str = "") -> None:
        self.sqlstate = sqlstate
        super().__init__(what, meaning=meaning, remedy=remedy)


class StorageError(PipelineError):
    """S3 refused or did not answer. Carries S3's code (or the kind of failure), never a key or a body."""

    def __init__(self, what: str, *, code: str = "", meaning: str = "", remedy: str = "") -> None:
        self.code = code
        super().__init__(what, meaning=meaning, remedy=remedy)


class RequestError(PipelineError):
    """A request cannot be fulfilled; nothing was started. `code` is an HTTP status: 400 bad request, 404 not found."""

    def __init__(self, what: str, *, code: int = 400, meaning: str = "", remedy: str = "") -> None:
        self.code = code
        super().__init__(what, meaning=meaning, remedy=remedy)


class FtpError(PipelineError):
    """The FTP server refused, failed or did not answer. What was pulled stays; a next pull goes on from there."""


class UnforeseenError(PipelineError):
    """An unexpected error; made by `unforeseen`."""


class Stop(PipelineError):
    """A rule forbids to continue. Nothing has been changed."""


class StagingStop(Stop):
    """Source rows break a rule whose action is `stop`."""


class CatalogueStop(Stop):
    """The Nexus schema holds something that no policy covers."""


class PlanStop(Stop):
    """No plan, a stale plan, a wrong confirmation, or no verified backup of what would change."""


class LockStop(Stop):
    """Somebody else works in the tables, or another reimport runs."""


class ValidationStop(Stop):
    """The result of the transaction is not what it must be; it was rolled back."""


class ImageStop(Stop):
    """An export of images cannot be read, contradicts itself, or was never read."""


def unforeseen(error: Exception) -> UnforeseenError:
    """Return the error to show for an unexpected one: its class and the places in the code, not its text."""
    sqlite: str = getattr(getattr(error, "orig", error), "sqlite_errorname", "")  # SQLAlchemy has it in `orig`
    if (isinstance(error, OSError) and error.errno in _NO_ROOM) or sqlite == "SQLITE_FULL":
        return UnforeseenError(
            "A disk of this machine is full, or the quota of the pipeline's user is.",
            meaning="The file that was being written is not complete.",
            remedy="Make room where STATE_DIR, BACKUP_DIR, DAGSTER_HOME and TMPDIR are (df -h shows it). Then run it"
            " again.",
        )
    if isinstance(error, OSError) and error.errno in _NOT_ALLOWED:
        return UnforeseenError(
            f"A file or folder may not be read or written: {os.strerror(error.errno)}, at {_places(error)}.",
            meaning="It belongs to another user, or the service may not write there. What came before it stays.",
            remedy="See that STATE_DIR, BACKUP_DIR, DAGSTER_HOME and TMPDIR, and all in them, belong to the pipeline's"
            " user (ls -l shows it). Then run it again.",
        )
    if sqlite.startswith(_NO_FILE):
        return UnforeseenError(
            f"A database file of this service cannot be opened or read ({sqlite}).",
            meaning="Dagster keeps its history in DAGSTER_HOME, and the pipeline its unsent emails in STATE_DIR.",
            remedy="See that both folders are there and belong to the pipeline's user. Then restart the service.",
        )
    return UnforeseenError(
        f"An error that was not foreseen: {type(error).__name__}, at {_places(error)}.",
        meaning="Its text may hold patient data, so it is not repeated here.",
        remedy="Report the class and the places; fm-pipeline status shows what was carried out before.",
    )


def _places(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return ", ".join(f"{Path(frame.filename).name}:{frame.lineno} ({frame.name})" for frame in frames)


@contextmanager
def redacted() -> Iterator[None]:
    """Raise errors of libraries without their text, which may quote a record. Our own errors pass, without their cause.

    Raises:
        UnforeseenError: in place of any other error than a `PipelineError`.
    """
    try:
        yield
    except PipelineError as error:
        raise error from None  # Dagster keeps the text of causes and contexts too
    except Exception as error:  # noqa: BLE001  # raised anew without its text
        raise unforeseen(error) from None
