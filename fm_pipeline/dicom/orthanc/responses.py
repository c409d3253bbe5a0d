"""Translate HTTP responses into errors.

Source of the statuses: Orthanc's error codes (`Orthanc --errors`), and observed responses of 1.10.1, 1.12.7 and 1.13.0
(docs/orthanc.md). If Orthanc does not describe errors (`HttpDescribeErrors`), the body is empty and only the HTTP
status counts. A body that is not Orthanc's comes from a proxy or another server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fm_pipeline.dicom.orthanc import errors as oe
from fm_pipeline.dicom.orthanc.connection_pool import OrthancResponse

NOT_IMPLEMENTED, OUT_OF_RANGE, NO_MEMORY, BAD_TYPE, CANNOT_WRITE, BAD_FORMAT = 2, 3, 4, 5, 14, 15
UNKNOWN_RESOURCE, FULL_STORAGE, INEXISTENT_TAG, IMAGE_FORMAT, IMAGE_SIZE = 17, 19, 21, 23, 24
CANNOT_MAKE_FILE = 2001
_LUA = range(2029, 2036)

# Error codes that mean a bad file, whatever the HTTP status, and their reason ids.
FILE_FAULTS: Mapping[int, str] = {
    NOT_IMPLEMENTED: "orthanc_not_supported",
    OUT_OF_RANGE: "orthanc_out_of_range",
    BAD_TYPE: "orthanc_bad_type",
    BAD_FORMAT: "orthanc_bad_file_format",
    INEXISTENT_TAG: "orthanc_missing_tag",
    IMAGE_FORMAT: "orthanc_not_supported",
    IMAGE_SIZE: "orthanc_not_supported",
}
_BUSY = {425, 429, 503}
_GATEWAY = {502, *range(520, 524), 530}  # the latter are those of a large public proxy (Cloudflare)
_GATEWAY_TIMED_OUT = {408, 504, 524}
_TOO_LARGE = re.compile(r"size \d+ bytes in a storage area limited to \d+")  # in Details of 1.10.1


def orthanc_status(answer: OrthancResponse) -> int | None:
    """Return Orthanc's error code; None if the response has none."""
    content = answer.json()
    code = content.get("OrthancStatus") if isinstance(content, dict) else None
    return code if isinstance(code, int) else None


def is_system(content: Any) -> bool:
    """Return whether this is the content of `/system`. Every version of Orthanc names itself and its API there."""
    named = isinstance(content, dict) and isinstance(content.get("Version"), str)
    return named and not content.keys().isdisjoint({"ApiVersion", "DicomAet", "DatabaseVersion"})


def is_older(system: Mapping[str, Any], version: tuple[int, ...]) -> bool:
    """Return whether an Orthanc is older than a version of three numbers. One that names no version is not."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", str(system.get("Version", "")))[:3])
    return len(numbers) == 3 and numbers < version


def overwrites_instances(system: Mapping[str, Any]) -> bool | None:
    """Return whether an upload replaces an existing instance; None before 1.11, which does not report it."""
    mode = system.get("OverwriteInstancesMode")  # newer versions report it in addition to the Boolean
    if mode in {"Always", "IfChanged"} or system.get("OverwriteInstances") is True:
        return True
    return False if mode == "Never" or system.get("OverwriteInstances") is False else None


def error_of_any_request(  # noqa: PLR0911  # one for each kind
    answer: OrthancResponse, method: str, path: str, *, with_login: bool, is_orthanc: Callable[[], bool]
) -> oe.OrthancError | None:
    """Return the error for a response other than 200 to any request; None if it depends on the request.

    Args:
        is_orthanc: queries `/system`; called only if the status is ambiguous.
    """
    status, code = answer.status, orthanc_status(answer)
    if status in {401, 407}:
        return oe.LoginRefused(status, with_login=with_login)
    if status == 403:
        return oe.RightMissing(method, path, status) if is_orthanc() else oe.LoginRefused(status, with_login=with_login)
    if 300 <= status < 400:
        return oe.Redirected(status, _origin(answer.location))
    if status < 300:
        return oe.UnusableAnswer(method, path, status) if is_orthanc() else oe.NotOrthanc(status)
    if code == UNKNOWN_RESOURCE:
        return oe.NotOrthanc(status, other_path=True)
    if status in _BUSY:
        return oe.OrthancBusy(status)
    if status in _GATEWAY:
        return oe.BehindProxyGone(status)
    if status in _GATEWAY_TIMED_OUT:
        return oe.AnswerTimedOut(f"A proxy in front of Orthanc did not wait for its answer (HTTP {status}).")
    if status == 405:
        return oe.RightMissing(method, path, status) if is_orthanc() else oe.NotOrthanc(status)
    return None


def error_of_query(
    answer: OrthancResponse, method: str, path: str, *, with_login: bool, is_orthanc: Callable[[], bool]
) -> oe.OrthancError:
    """Return the error for a response other than 200 to a read-only request."""
    general = error_of_any_request(answer, method, path, with_login=with_login, is_orthanc=is_orthanc)
    if general is not None:
        return general
    if answer.status >= 500:
        return _own_error(answer)
    return oe.RightMissing(method, path, answer.status) if is_orthanc() else oe.NotOrthanc(answer.status)


def error_of_upload(  # noqa: PLR0911  # one for each kind
    answer: OrthancResponse,
    size: int,
    *,
    with_login: bool,
    is_orthanc: Callable[[], bool],
    limits: Callable[[], OrthancLimits],
) -> oe.OrthancError:
    """Return the error for a response other than 200 to an upload.

    Args:
        size: of the file in bytes.
        limits: queries Orthanc's limits.
    """
    status, code = answer.status, orthanc_status(answer)
    if code is not None and code in FILE_FAULTS:
        return oe.FileRefused(FILE_FAULTS[code], status)
    if code in _LUA:
        return oe.FileNotTaken("orthanc_filter_error", status)
    if code in {CANNOT_WRITE, CANNOT_MAKE_FILE}:
        return oe.StorageFull("Orthanc cannot write to its disk: it is full, or Orthanc has no right to write there.")
    if code == FULL_STORAGE or status == 507:
        return _full(answer, size, limits())
    if status == 413:
        return oe.FileNotTaken("too_large_for_proxy", status)
    if status == 409:
        return oe.StoredByAnother(status)
    if status == 405 and limits().read_only:
        return oe.ReadOnly()
    general = error_of_any_request(answer, "POST", "/instances", with_login=with_login, is_orthanc=is_orthanc)
    if general is not None:
        return general
    if status >= 500:
        return _own_error(answer)
    if not is_orthanc():
        return oe.NotOrthanc(status)
    if code is not None or (not answer.data and status in {400, 404, 415, 422}):
        return oe.FileRefused("orthanc_refused", status)
    return oe.RightMissing("POST", "/instances", status) if status == 404 else oe.FileNotTaken("proxy_refused", status)


class OrthancLimits:
    """Orthanc's limits, from `/system` and `/statistics`. A value that a version does not report is 0 or False.

    Attributes:
        megabytes, patients: MaximumStorageSize, MaximumPatientCount; 0: none.
        rejects: whether Orthanc refuses files above the limits. Otherwise it deletes its oldest patients.
        reports: whether this version reports its limits (since 1.11.3).
        may_recycle: whether it may delete its oldest patients. A version that does not report its limits may.
        held_bytes, held_patients, held_instances: what it holds now.
    """

    def __init__(self, system: Mapping[str, Any], statistics: Mapping[str, Any]) -> None:
        self.megabytes = _whole(system.get("MaximumStorageSize"))
        self.patients = _whole(system.get("MaximumPatientCount"))
        self.rejects = system.get("MaximumStorageMode") == "Reject"
        self.reports = "MaximumStorageMode" in system
        self.may_recycle = not self.rejects and bool(self.megabytes or self.patients or not self.reports)
        self.read_only = system.get("ReadOnly") is True
        self.held_bytes = _whole(statistics.get("TotalDiskSize"))
        self.held_patients = _whole(statistics.get("CountPatients"))
        self.held_instances = _whole(statistics.get("CountInstances"))


def _full(answer: OrthancResponse, size: int, limits: OrthancLimits) -> oe.OrthancError:
    content = answer.json()
    details = content.get("Details") if isinstance(content, dict) else None
    limit = limits.megabytes << 20
    if (limit and size > limit) or (isinstance(details, str) and _TOO_LARGE.search(details)):
        return oe.FileNotTaken("too_large_for_orthanc", answer.status)
    if limit and limits.held_bytes + size > limit:
        return oe.StorageFull(f"Orthanc's storage is full: MaximumStorageSize is {limits.megabytes:,} MB.")
    if limits.patients and limits.held_patients >= limits.patients:
        return oe.PatientLimit(limits.patients)
    return oe.StorageFull()


def _own_error(answer: OrthancResponse) -> oe.OrthancUnreachable:
    code = orthanc_status(answer)
    said = f"HTTP {answer.status}, status {code}" if code is not None else f"HTTP {answer.status}"
    return oe.OrthancUnreachable(f"Orthanc could not do it ({said}).", code=code)


def _origin(location: str) -> str:
    """Return scheme, host and port of a Location header. The rest may hold anything and is left out."""
    try:
        parts = urlsplit(location)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "another address"
    if parts.scheme not in {"http", "https"} or not host or not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", host):
        return "another path of the same server" if location else "nowhere"
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port else "")


def _whole(value: object) -> int:
    """Parse a number of Orthanc, which writes large ones as text."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0
