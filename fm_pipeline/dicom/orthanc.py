"""Orthanc's REST API, over connections that are kept open. What its answers mean is in `orthanc_errors`.

Every call has a time-out.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, Literal, Self

from fm_pipeline.dicom import orthanc_errors as oe
from fm_pipeline.dicom.kept_connections import Answer, Content, KeptConnections
from fm_pipeline.errors import SettingsError
from fm_pipeline.settings import Settings

_SLOWEST_BYTES_PER_SECOND = 2_000_000  # a large file may take so long: 2 GB 17 minutes; 1.10.1 took 30 s
_STALLED_SECONDS = 30  # half of what 1.10.1 waits for the rest of an upload
_BLOCK = 1 << 20
_BUSY = {409, 429, 502, 503, 504}  # Orthanc's own (409: another client stores the same), or a proxy's in front of it


@dataclass(frozen=True)
class Stored:
    """What Orthanc says of a file that it was sent.

    Attributes:
        status: `AlreadyStored`: it has this instance already, and kept that; `FilteredOut`: a filter of Orthanc's own
            did not want it.
    """

    status: Literal["Success", "AlreadyStored", "FilteredOut"]
    instance_id: str
    patient_id: str
    study_id: str
    series_id: str


class Orthanc:
    """A client; one for all threads of a job.

    Args:
        url: of Orthanc, without a path behind it unless a proxy has one.
        username, password: empty for an Orthanc without login.
        timeout_seconds: for connecting, and for the answer; a large file gets more.
    """

    def __init__(self, url: str, username: str = "", password: str = "", *, timeout_seconds: float = 60) -> None:
        self._timeout = timeout_seconds
        self._connections = KeptConnections(url, username, password, timeout_seconds=timeout_seconds)
        self._ask = self._connections.ask

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """A client as the settings say.

        Raises:
            SettingsError: no ORTHANC_URL, or none that is one.
        """
        address = need_orthanc_url(settings)
        password = settings.orthanc_password.get_secret_value() if settings.orthanc_password else ""
        try:
            return cls(
                address,
                settings.orthanc_username or "",
                password,
                timeout_seconds=settings.orthanc_timeout_seconds,
            )
        except ValueError:  # a port that is no number
            raise SettingsError(
                "ORTHANC_URL is not a URL.", remedy="Write it as http://orthanc.example:8042."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    def upload(self, body: Content, size: int) -> Stored:
        """Send one file.

        Args:
            body: its bytes, or blocks of them for one that is too large for memory. What they raise comes through, the
                connection is closed, and Orthanc stores nothing.
            size: of all of it, in bytes.

        Raises:
            OrthancError: every leaf of it; see there.
        """
        seconds = self._timeout + size / _SLOWEST_BYTES_PER_SECOND
        headers = {"Content-Length": str(size), "Content-Type": "application/dicom"}
        started = time.monotonic()
        answer = self._ask("POST", "/instances", body, headers, seconds)
        if answer.status != 200:
            if answer.status == 400 and not answer.data and time.monotonic() - started > _STALLED_SECONDS:
                raise oe.AnswerTimedOut  # what 1.10.1 says after an upload that has stalled: nothing about the file
            raise self._fault(answer)
        content = answer.json()
        if not isinstance(content, dict) or content.get("Status") not in {"Success", "AlreadyStored", "FilteredOut"}:
            raise oe.NotOrthanc(answer.status)
        ids = ("ID", "ParentPatient", "ParentStudy", "ParentSeries")
        return Stored(content["Status"], *(str(content.get(name, "")) for name in ids))

    def sizes(self, instance_ids: Sequence[str]) -> dict[str, int]:
        """Of these instances those that Orthanc holds, with the size of their file in bytes.

        Source: Orthanc's REST API, /tools/bulk-content; unknown ids are left out of the answer.

        Raises:
            OrthancError: no answer, or none that is one.
        """
        if not instance_ids:
            return {}
        body = json.dumps({"Resources": list(instance_ids), "Metadata": False}).encode()
        answer = self._ask("POST", "/tools/bulk-content", body, {"Content-Type": "application/json"})
        if answer.status != 200:
            raise self._fault(answer)
        content = answer.json()
        if not isinstance(content, list):
            raise oe.NotOrthanc(answer.status)
        return {row["ID"]: int(row["FileSize"]) for row in content if row.get("Type") == "Instance"}

    def md5(self, instance_id: str) -> str | None:
        """The MD5 of the file that Orthanc holds of an instance; None if it holds none.

        An Orthanc that keeps no MD5 (`StoreMD5ForAttachments`) is asked for the file itself.

        Raises:
            OrthancError: no answer, or none that is one.
        """
        answer = self._ask("GET", f"/instances/{instance_id}/attachments/dicom/md5")
        if answer.status == 200:
            return answer.data.decode("ascii", "replace").strip()
        if answer.status != 404:
            raise self._fault(answer)
        return self._md5_of_the_file(instance_id)

    def transfer_syntax(self, instance_id: str) -> str | None:
        """The UID of the transfer syntax in which Orthanc holds an instance; None if it does not say.

        Source: Orthanc's REST API, metadata `TransferSyntax` of instances.

        Raises:
            OrthancError: no answer, or none that is one.
        """
        answer = self._ask("GET", f"/instances/{instance_id}/metadata/TransferSyntax")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._fault(answer)
        return answer.data.decode("ascii", "replace").strip() or None

    def statistics(self) -> Mapping[str, Any]:
        """What it holds, in numbers: `CountInstances` and so on.

        Raises:
            OrthancError: no answer, or none that is one.
        """
        return self._object("/statistics")

    def system(self) -> Mapping[str, Any]:
        """Its version and what of its configuration it tells.

        Raises:
            OrthancError: no answer, or none that is one.
        """
        return self._object("/system")

    def _object(self, path: str) -> Mapping[str, Any]:
        answer = self._ask("GET", path)
        if answer.status != 200:
            raise self._fault(answer)
        content = answer.json()
        if not isinstance(content, dict):
            raise oe.NotOrthanc(answer.status)
        return content

    def _md5_of_the_file(self, instance_id: str) -> str | None:
        digest = hashlib.md5(usedforsecurity=False)

        def read(response: HTTPResponse) -> bytes:
            if response.status != 200:
                return response.read()
            while block := response.read(_BLOCK):
                digest.update(block)
            return b""

        answer = self._ask("GET", f"/instances/{instance_id}/file", read=read)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._fault(answer)
        return digest.hexdigest()

    def _fault(self, answer: Answer) -> oe.OrthancError:  # noqa: PLR0911  # one for each kind
        """What an answer that is not 200 means; the status alone must do where Orthanc describes no errors."""
        code = _orthanc_status(answer)
        if answer.status in {401, 403}:
            return oe.LoginRefused(answer.status)
        if code in oe.FILE_FAULTS:
            return oe.FileRefused(oe.FILE_FAULTS[code], answer.status)
        if code in {oe.FULL_STORAGE, oe.CANNOT_WRITE_FILE} or answer.status == 507:
            return oe.StorageFull()
        if answer.status in _BUSY:
            return oe.OrthancBusy(answer.status)
        if code == oe.UNKNOWN_RESOURCE or answer.status == 405 or answer.status < 400:
            return oe.NotOrthanc(answer.status)
        if answer.status in {400, 404, 415, 422}:
            if answer.status == 404 and code is None and not self._is_orthanc():
                return oe.NotOrthanc(answer.status)
            return oe.FileRefused("orthanc_refused", answer.status)
        return oe.OrthancUnreachable(f"Orthanc could not do it (HTTP {answer.status}, status {code}).")

    def _is_orthanc(self) -> bool:
        try:
            return "CountInstances" in self.statistics()
        except oe.NotOrthanc:
            return False


def need_orthanc_url(settings: Settings) -> str:
    """Orthanc's address.

    Raises:
        SettingsError: no ORTHANC_URL.
    """
    if settings.orthanc_url is None:
        raise SettingsError("ORTHANC_URL is not set.", remedy="Set it in the environment or in .env.")
    return settings.orthanc_url


def _orthanc_status(answer: Answer) -> int | None:
    content = answer.json()
    code = content.get("OrthancStatus") if isinstance(content, dict) else None
    return code if isinstance(code, int) else None
