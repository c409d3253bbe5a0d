"""What Orthanc answers when it does not store a file, by what follows from it.

    OrthancError
    ├── FileRefused         the fault is the file's: bad, with a reason
    ├── NoAnswer            it closed the connection while it had the file: perhaps the file killed it
    ├── OrthancUnreachable  it is down or restarting, or could not do it: wait and send again
    │   ├── OrthancRefusedConnection  nothing was sent
    │   ├── OrthancBusy     it, or a proxy before it, says that it cannot now
    │   └── AnswerTimedOut  it has not answered in time
    └── OrthancStop         nothing will be stored until somebody has done something: the job stops
        ├── LoginRefused    401, 403
        ├── StorageFull     the disk or the limit of its storage
        └── NotOrthanc      another program answers at this address, or another path

Source of the statuses: Orthanc's own numbers (`OrthancStatus`, enumeration ErrorCode of the plugin SDK), and what
1.10.1 was seen to answer. No text repeats what Orthanc says in `Details` or `Message`: it may quote the file.
"""

from __future__ import annotations

from fm_pipeline.errors import DicomError

PARAMETER_OUT_OF_RANGE, BAD_TYPE, CANNOT_WRITE_FILE, BAD_FILE_FORMAT = 3, 5, 14, 15
UNKNOWN_RESOURCE, FULL_STORAGE, INEXISTENT_TAG = 17, 19, 21

# The file's fault, whatever the HTTP status: reason ids.
FILE_FAULTS = {
    PARAMETER_OUT_OF_RANGE: "orthanc_out_of_range",
    BAD_TYPE: "orthanc_bad_type",
    BAD_FILE_FORMAT: "orthanc_bad_file_format",
    INEXISTENT_TAG: "orthanc_missing_tag",
}


class OrthancError(DicomError):
    """Orthanc did not do what it was asked for."""


class FileRefused(OrthancError):
    """Orthanc will never store this file. `reason` is an id of `reasons.REFUSED`."""

    def __init__(self, reason: str, status: int) -> None:
        self.reason = reason
        super().__init__(f"Orthanc refused a file (HTTP {status}).", meaning="The file is bad.")


class NoAnswer(OrthancError):
    """The connection ended before the answer. Whether the file was stored is not known."""

    def __init__(self) -> None:
        super().__init__(
            "Orthanc closed the connection without an answer.",
            meaning="It was stopped, or a file has killed it.",
        )


class OrthancUnreachable(OrthancError):
    """Orthanc does not answer, or says that it cannot now."""

    def __init__(self, what: str = "Orthanc does not answer.") -> None:
        super().__init__(
            what,
            meaning="Nothing is lost: the job can be resumed.",
            remedy="Check ORTHANC_URL and that Orthanc runs, then resume the job.",
        )


class OrthancRefusedConnection(OrthancUnreachable):
    """No connection came about."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"Orthanc cannot be reached ({kind}).")


class OrthancBusy(OrthancUnreachable):
    """503 and the like: it may take a while."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Orthanc is busy or being started (HTTP {status}).")


class AnswerTimedOut(OrthancUnreachable):
    """Connected, and no answer within the time-out."""

    def __init__(self) -> None:
        super().__init__("Orthanc has not answered in time (ORTHANC_TIMEOUT_SECONDS).")


class OrthancStop(OrthancError):
    """Somebody has to do something first. `reason` is an id of `reasons.STOPPED`."""

    reason = "orthanc_stop"


class LoginRefused(OrthancStop):
    """401 or 403."""

    reason = "orthanc_login_refused"

    def __init__(self, status: int) -> None:
        super().__init__(
            f"Orthanc refuses the login or the access (HTTP {status}).",
            meaning="The job has stopped; it can be resumed.",
            remedy="Check ORTHANC_USERNAME and ORTHANC_PASSWORD, and RemoteAccessAllowed in Orthanc's configuration.",
        )


class StorageFull(OrthancStop):
    """No room for the file."""

    reason = "orthanc_storage_full"

    def __init__(self) -> None:
        super().__init__(
            "Orthanc's storage is full.",
            meaning="The job has stopped; no file was marked bad for it, and the job can be resumed.",
            remedy="Free disk space on Orthanc's server, or raise MaximumStorageSize.",
        )


class NotOrthanc(OrthancStop):
    """The address is not that of Orthanc's REST API."""

    reason = "orthanc_wrong_address"

    def __init__(self, status: int) -> None:
        super().__init__(
            f"What answers at ORTHANC_URL does not know Orthanc's paths (HTTP {status}).",
            meaning="The job has stopped; it can be resumed.",
            remedy="Check ORTHANC_URL: the address of Orthanc's REST API, without a path behind it.",
        )
