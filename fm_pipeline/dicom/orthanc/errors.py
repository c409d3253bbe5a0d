"""Errors of requests to Orthanc, or to a proxy in front of it.

    OrthancError
    ├── FileRefused         the fault is the file's: bad, with a reason
    ├── FileNotTaken        a setting of Orthanc or of a proxy keeps this file out: failed, with a reason, sent once
    ├── NoAnswer            the connection ended while the file was sent: perhaps the file killed Orthanc
    ├── OrthancUnreachable  it is down or restarting, or could not do it: wait and send again
    │   ├── OrthancRefusedConnection  nothing was sent
    │   ├── OrthancBusy     it, or a proxy in front of it, says that it cannot now
    │   ├── BehindProxyGone a proxy answers, and Orthanc behind it does not
    │   ├── StoredByAnother another client sends the same instance at this moment
    │   └── AnswerTimedOut  it has not answered in time
    └── OrthancStop         nothing will be stored until somebody has done something: the job stops
        ├── LoginRefused    401, 407, and 403 on everything
        ├── RightMissing    the account may ask, and not do what an import needs
        ├── ReadOnly        Orthanc's option
        ├── StorageFull     the disk, or the limit of its storage
        ├── PatientLimit    the limit of its patients
        ├── Redirected      a redirect, which is not followed
        ├── NotOrthanc      another program answers at this address, or another path
        ├── UnusableAnswer  it reports success with unknown content
        ├── OtherInstanceId it gave an instance an id that does not follow from the file's identifiers
        ├── TlsFault        certificate, or http where https is spoken
        └── KeepsFailing    an error of its own for one file after the other

`responses` chooses the error for a response. No message repeats Orthanc's `Details` or `Message`, which may quote the
file.
"""

from __future__ import annotations

from fm_pipeline.errors import DicomError


class OrthancError(DicomError):
    """A request to Orthanc failed."""


class FileRefused(OrthancError):
    """Orthanc will never store this file. `reason` is an id of `reasons.REFUSED`."""

    def __init__(self, reason: str, status: int) -> None:
        self.reason = reason
        super().__init__(f"Orthanc refused a file (HTTP {status}).", meaning="The file is bad.")


class FileNotTaken(OrthancError):
    """A setting that an administrator can change keeps this file out.

    Args:
        reason: an id of `reasons.NOT_TAKEN`.
        sent: False if the file was refused without sending it.
    """

    def __init__(self, reason: str, status: int, *, sent: bool = True) -> None:
        self.reason, self.sent = reason, sent
        super().__init__(
            f"A file was not taken (HTTP {status}).",
            meaning="The file is not bad; a setting of Orthanc or of a proxy keeps it out.",
        )


class NoAnswer(OrthancError):
    """The connection was closed before the response. It is not known whether the file was stored."""

    def __init__(self) -> None:
        super().__init__(
            "Orthanc closed the connection without an answer.",
            meaning="It was stopped, or a file has ended it; or ORTHANC_URL has another port than its HttpPort.",
            remedy="Check that Orthanc runs, and that the port in ORTHANC_URL is its HttpPort (by default 8042).",
        )


class OrthancUnreachable(OrthancError):
    """Orthanc does not answer, or reports that it cannot handle the request now."""

    def __init__(self, what: str = "Orthanc does not answer.", *, code: int | None = None) -> None:
        self.code = code
        super().__init__(
            what,
            meaning="Nothing is lost: a job that has stopped can be resumed.",
            remedy="Check ORTHANC_URL and that Orthanc runs. If a job has stopped, resume it then.",
        )


class OrthancRefusedConnection(OrthancUnreachable):
    """The connection failed. `kind` describes how far it came."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"Orthanc cannot be reached ({kind}).")


class OrthancBusy(OrthancUnreachable):
    """503 and similar statuses: it may take a while."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Orthanc is busy or being started (HTTP {status}).")


class BehindProxyGone(OrthancUnreachable):
    """502 and similar statuses: Orthanc does not run, or crashed while it had the file."""

    def __init__(self, status: int) -> None:
        super().__init__(f"A proxy answers for Orthanc, and does not reach it (HTTP {status}).")


class StoredByAnother(OrthancUnreachable):
    """409."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Another client sends the same instance at this moment (HTTP {status}).")


class AnswerTimedOut(OrthancUnreachable):
    """The connection stands, and no response came within the timeout."""

    def __init__(self, what: str = "Orthanc has not answered in time (ORTHANC_TIMEOUT_SECONDS).") -> None:
        super().__init__(what)


class OrthancStop(OrthancError):
    """An administrator has to do something first. `reason` is an id of `reasons.STOPPED`."""

    reason = "orthanc_stop"

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(
            what, meaning="No file was marked for it; a job that has stopped can be resumed.", remedy=remedy
        )


class LoginRefused(OrthancStop):
    """401, 403, 407."""

    reason = "orthanc_login_refused"

    def __init__(self, status: int, *, with_login: bool) -> None:
        super().__init__(
            f"Orthanc, or a proxy in front of it, refuses the login or the access (HTTP {status}).",
            "Check ORTHANC_USERNAME and ORTHANC_PASSWORD, and RemoteAccessAllowed in Orthanc's configuration."
            if with_login
            else "Set ORTHANC_USERNAME and ORTHANC_PASSWORD; and check RemoteAccessAllowed in Orthanc's configuration.",
        )


class RightMissing(OrthancStop):
    """The account may access Orthanc, but not a path that an import needs."""

    reason = "orthanc_right_missing"

    def __init__(self, method: str, path: str, status: int) -> None:
        super().__init__(
            f"Orthanc answers, and {method} {path} is refused (HTTP {status}).",
            "Give the account this right: in Orthanc's filter (IncomingHttpRequestFilter), in its authorization plugin,"
            " or in the proxy in front of it. SECURITY.md lists the paths that an import uses.",
        )


class ReadOnly(OrthancStop):
    """Orthanc's option `ReadOnly`, which 1.10.1 does not know."""

    reason = "orthanc_read_only"

    def __init__(self) -> None:
        super().__init__(
            "Orthanc is read-only: it stores and deletes nothing.",
            "Set ReadOnly to false in Orthanc's configuration, or let ORTHANC_URL name the Orthanc that stores.",
        )


class StorageFull(OrthancStop):
    """There is no room for the file."""

    reason = "orthanc_storage_full"

    def __init__(self, what: str = "Orthanc's storage is full.") -> None:
        super().__init__(what, "Free disk space on Orthanc's server, or raise MaximumStorageSize.")


class PatientLimit(OrthancStop):
    """Orthanc accepts no further patient."""

    reason = "orthanc_patient_limit"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"Orthanc takes no further patient: it has as many as MaximumPatientCount allows ({limit:,}).",
            "Raise MaximumPatientCount in Orthanc's configuration (0: no limit).",
        )


class Redirected(OrthancStop):
    """A redirect. It is not followed: files and password go to ORTHANC_URL and nowhere else."""

    reason = "orthanc_redirects"

    def __init__(self, status: int, to: str) -> None:
        super().__init__(
            f"What answers at ORTHANC_URL sends on to {to} (HTTP {status}). A redirect is not followed.",
            "If Orthanc is there, write that address in ORTHANC_URL. If it is a page that asks people for a login, the"
            " proxy has to let the pipeline's account in without it.",
        )


class NotOrthanc(OrthancStop):
    """The address is not that of Orthanc's REST API."""

    reason = "orthanc_wrong_address"

    def __init__(self, status: int, *, other_path: bool = False) -> None:
        super().__init__(
            f"Orthanc answers at ORTHANC_URL, but not under this path (HTTP {status})."
            if other_path
            else f"What answers at ORTHANC_URL is not Orthanc (HTTP {status}).",
            "Write the address of Orthanc's REST API in ORTHANC_URL: without /app/explorer.html or /ui behind it, and"
            " with the path that a proxy puts before it, if there is one.",
        )


class NotHttp(NotOrthanc):
    """The server does not speak HTTP."""

    def __init__(self) -> None:
        OrthancStop.__init__(
            self,
            "What answers at ORTHANC_URL does not speak HTTP.",
            "Check the port in ORTHANC_URL: it is Orthanc's HttpPort (by default 8042), not its DicomPort (4242).",
        )


class UnusableAnswer(OrthancStop):
    """A success status with content that Orthanc does not send."""

    reason = "orthanc_answer_unusable"

    def __init__(self, method: str, path: str, status: int) -> None:
        super().__init__(
            f"The answer to {method} {path} is not one of Orthanc's (HTTP {status}).",
            "Look whether a proxy or a plugin changes Orthanc's answers, and whether ORTHANC_URL is Orthanc's address.",
        )


class OtherInstanceId(OrthancStop):
    """The response to an upload has another id than the computed one, which was certain."""

    reason = "orthanc_other_id"

    def __init__(self) -> None:
        super().__init__(
            "Orthanc gave an instance an id that does not follow from its identifiers.",
            "Check whether Orthanc converts to a lossy transfer syntax (IngestTranscoding), or a plugin or script"
            " changes the files. Set OverwriteInstances to false until that is known: by its id an import sees"
            " that an instance is there already. The newest imported row of the job has the instance.",
        )


class TlsFault(OrthancStop):
    """A connection is impossible until a setting is changed."""

    reason = "orthanc_tls"


class KeepsFailing(OrthancStop):
    """Many files in a row have failed, and none was stored in between."""

    reason = "orthanc_keeps_failing"

    def __init__(self, count: int, last: str) -> None:
        super().__init__(
            f"{count} files in a row could not be stored, all for reasons unrelated to these files. The last one:"
            f" {last}",
            "Look into Orthanc's log, and into that of the proxy in front of it. If Orthanc is healthy and cannot store"
            " files of this kind, move them to another folder; they come first when the job is resumed.",
        )
