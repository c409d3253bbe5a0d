"""Orthanc's REST API, over connections that are kept open. What its answers mean is in `answers`.

Every call has a time-out.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from fm_pipeline.dicom.orthanc import errors as oe
from fm_pipeline.dicom.orthanc.connection_pool import ConnectionPool, Content, OrthancResponse
from fm_pipeline.dicom.orthanc.responses import (
    OrthancLimits,
    fault_of_question,
    fault_of_upload,
    is_system,
    orthanc_status,
)
from fm_pipeline.errors import SettingsError
from fm_pipeline.http_response import SLOWEST_BYTES_PER_SECOND
from fm_pipeline.settings import Settings

_STALLED_SECONDS = 30  # half of what 1.10.1 waits for the rest of an upload
_NO_INSTANCE = "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"  # of an empty text: nothing has this id
_IDS = ("ID", "ParentPatient", "ParentStudy", "ParentSeries")
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_UID = re.compile(r"[0-9.]{1,64}")
_SAMPLE = b"This is no DICOM file: the upload is tried without one.\n"


@dataclass(frozen=True)
class StoredInstance:
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
        ca_bundle: PEM file of the authority that signed the server's certificate; None for those that this machine
            trusts.
    """

    def __init__(
        self,
        url: str,
        username: str = "",
        password: str = "",
        *,
        timeout_seconds: float = 60,
        ca_bundle: Path | None = None,
    ) -> None:
        self._timeout, self._with_login = timeout_seconds, bool(username)
        self._connections = ConnectionPool(
            url, username, password, timeout_seconds=timeout_seconds, ca_bundle=ca_bundle
        )
        self._ask = self._connections.ask

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """A client as the settings say.

        Raises:
            SettingsError: no ORTHANC_URL, or none that is one; no such ORTHANC_CA_BUNDLE.
        """
        address = need_orthanc_url(settings)
        password = settings.orthanc_password.get_secret_value() if settings.orthanc_password else ""
        try:
            return cls(
                address,
                settings.orthanc_username or "",
                password,
                timeout_seconds=settings.orthanc_timeout_seconds,
                ca_bundle=settings.orthanc_ca_bundle,
            )
        except ValueError:  # a port that is no number
            raise SettingsError(
                "ORTHANC_URL is not a URL.", remedy="Write it as http://orthanc.example:8042."
            ) from None
        except OSError:  # ssl.SSLError is one
            raise SettingsError(
                "ORTHANC_CA_BUNDLE: there is no such file, or no certificate of an authority in it.",
                remedy="Set it to the PEM file of the authority that signed Orthanc's certificate, or leave it empty.",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    def upload(self, body: Content, size: int) -> StoredInstance:
        """Send one file.

        Args:
            body: its bytes, or blocks of them for one that is too large for memory. What they raise comes through, the
                connection is closed, and Orthanc stores nothing.
            size: of all of it, in bytes.

        Raises:
            OrthancError: every leaf of it; see there.
        """
        seconds = self._timeout + size / SLOWEST_BYTES_PER_SECOND
        headers = {"Content-Length": str(size), "Content-Type": "application/dicom"}
        started = time.monotonic()
        answer = self._ask("POST", "/instances", body, headers, seconds)
        if answer.status != 200:
            if answer.status == 400 and not answer.data and time.monotonic() - started > _STALLED_SECONDS:
                raise oe.AnswerTimedOut  # what 1.10.1 says after an upload that has stalled: nothing about the file
            raise self._fault_of_upload(answer, size)
        if (stored := _stored(answer)) is None:
            raise self._unusable("POST", "/instances", answer)
        return stored

    def try_upload(self, size: int = 0) -> None:
        """Send what is no DICOM file, which shows whether one would be taken: Orthanc refuses it and stores nothing.

        Args:
            size: so many bytes of text; none shows the right alone.

        Raises:
            OrthancError: why no file would be taken.
        """
        body = (_SAMPLE * (size // len(_SAMPLE) + 1))[:size]
        try:
            self.upload(body, size)
        except oe.FileRefused:
            return
        raise oe.UnusableAnswer("POST", "/instances", 200)

    def try_questions(self) -> None:
        """Ask what an import asks of instances, of one that does not exist.

        Raises:
            OrthancError: one of the questions is not answered.
        """
        self.sizes([_NO_INSTANCE])
        self.md5(_NO_INSTANCE)
        self.transfer_syntax(_NO_INSTANCE)

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
            raise self._fault(answer, "POST", "/tools/bulk-content")
        rows = answer.json()
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._unusable("POST", "/tools/bulk-content", answer)
        instances = [(row.get("ID"), row.get("FileSize")) for row in rows if row.get("Type") == "Instance"]
        if not all(isinstance(each, str) and type(size) is int for each, size in instances):
            raise self._unusable("POST", "/tools/bulk-content", answer)
        return dict(instances)

    def md5(self, instance_id: str) -> str | None:
        """The MD5 of the file that Orthanc holds of an instance; None if it holds none.

        An Orthanc that keeps no MD5 (`StoreMD5ForAttachments`) is asked for the file itself.

        Raises:
            OrthancError: no answer, or none that is one.
        """
        answer = self._of_instance(instance_id, "attachments/dicom/md5")
        if answer is None:
            return self._md5_of_the_file(instance_id)
        md5 = answer.data.decode("ascii", "replace").strip()
        if not _MD5.fullmatch(md5):
            raise self._unusable("GET", "/instances/ID/attachments/dicom/md5", answer)
        return md5

    def transfer_syntax(self, instance_id: str) -> str | None:
        """The UID of the transfer syntax in which Orthanc holds an instance; None if it does not say.

        Source: Orthanc's REST API, metadata `TransferSyntax` of instances.

        Raises:
            OrthancError: no answer, or none that is one.
        """
        answer = self._of_instance(instance_id, "metadata/TransferSyntax")
        if answer is None:
            return None
        syntax = answer.data.decode("ascii", "replace").strip(" \0")
        if syntax and not _UID.fullmatch(syntax):
            raise self._unusable("GET", "/instances/ID/metadata/TransferSyntax", answer)
        return syntax or None

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
        content = self._object("/system")
        if not is_system(content):
            raise oe.NotOrthanc(200)
        return content

    def overwrites(self) -> bool | None:
        """Whether it replaces an instance that it has by one that is sent; None before 1.11, which does not tell.

        Raises:
            OrthancError: no answer, or none that is one.
        """
        system = self.system()
        mode = system.get("OverwriteInstancesMode")  # newer ones tell it beside the Boolean
        if mode in {"Always", "IfChanged"} or system.get("OverwriteInstances") is True:
            return True
        return False if mode == "Never" or system.get("OverwriteInstances") is False else None

    def limits(self) -> OrthancLimits:
        """What it takes, as far as it tells.

        Raises:
            OrthancError: no answer, or none that is one.
        """
        return OrthancLimits(self.system(), self.statistics())

    def _object(self, path: str) -> Mapping[str, Any]:
        answer = self._ask("GET", path)
        if answer.status != 200:
            raise self._fault(answer, "GET", path)
        content = answer.json()
        if not isinstance(content, dict):
            raise oe.NotOrthanc(answer.status)
        return content

    def _of_instance(self, instance_id: str, what: str) -> OrthancResponse | None:
        """An answer with status 200; None if Orthanc itself says that there is nothing.

        404 without content is Orthanc's too: what it does not keep (`StoreMD5ForAttachments`), or any where it
        describes no errors.
        """
        answer = self._ask("GET", f"/instances/{instance_id}/{what}")
        if answer.status == 200:
            return answer
        if _is_nothing(answer):
            return None
        raise self._fault(answer, "GET", f"/instances/ID/{what}")

    def _md5_of_the_file(self, instance_id: str) -> str | None:
        digest = hashlib.md5(usedforsecurity=False)
        answer = self._ask("GET", f"/instances/{instance_id}/file", into=digest.update)
        if answer.status == 200:
            return digest.hexdigest()
        if _is_nothing(answer):
            return None
        raise self._fault(answer, "GET", "/instances/ID/file")

    def _fault(self, answer: OrthancResponse, method: str, path: str) -> oe.OrthancError:
        fault = fault_of_question(
            answer,
            method,
            path,
            with_login=self._with_login,
            is_orthanc=lambda: path != "/system" and self._is_orthanc(),
        )
        return self._or_scheme(answer, fault)

    def _fault_of_upload(self, answer: OrthancResponse, size: int) -> oe.OrthancError:
        fault = fault_of_upload(
            answer, size, with_login=self._with_login, is_orthanc=self._is_orthanc, limits=self._known_limits
        )
        return self._or_scheme(answer, fault)

    def _unusable(self, method: str, path: str, answer: OrthancResponse) -> oe.OrthancStop:
        """It says yes, and its content is not Orthanc's."""
        if self._is_orthanc():
            return oe.UnusableAnswer(method, path, answer.status)
        return oe.NotOrthanc(answer.status)

    def _or_scheme(self, answer: OrthancResponse, fault: oe.OrthancError) -> oe.OrthancError:
        if answer.status == 400 and isinstance(fault, oe.NotOrthanc):  # so a server of https answers plain HTTP
            return self._connections.fault_of_scheme() or fault
        return fault

    def _is_orthanc(self) -> bool:
        """Whether an Orthanc answers there; one that is away for the moment may be one.

        Raises:
            OrthancUnreachable, NoAnswer: it does not answer now.
        """
        try:
            self.system()
        except oe.OrthancStop:
            return False
        return True

    def _known_limits(self) -> OrthancLimits:
        try:
            return self.limits()
        except oe.OrthancError:
            return OrthancLimits({}, {})


def _stored(answer: OrthancResponse) -> StoredInstance | None:
    """What an answer with status 200 to an upload says; None if it says nothing of the kind.

    Raises:
        FileRefused, OrthancUnreachable: it was not stored.
    """
    content = answer.json()
    if isinstance(content, list):  # one row for each file that Orthanc found in what it took for a ZIP archive
        raise oe.FileRefused("taken_for_archive", answer.status)
    status = content.get("Status") if isinstance(content, dict) else None
    ids = [content.get(name) for name in _IDS] if isinstance(content, dict) else []
    if status == "Failure":  # documented, and not seen
        raise oe.OrthancUnreachable("Orthanc says that it could not store a file.")
    if status not in {"Success", "AlreadyStored", "FilteredOut"} or not all(isinstance(each, str) for each in ids):
        return None
    return StoredInstance(status, *map(str, ids))


def _is_nothing(answer: OrthancResponse) -> bool:
    return answer.status == 404 and (not answer.data or orthanc_status(answer) is not None)


def need_orthanc_url(settings: Settings) -> str:
    """Orthanc's address.

    Raises:
        SettingsError: no ORTHANC_URL, or one that says more than an address.
    """
    if settings.orthanc_url is None:
        raise SettingsError("ORTHANC_URL is not set.", remedy="Set it in the environment or in .env.")
    parts = urlsplit(settings.orthanc_url)
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            "ORTHANC_URL has a user name or a password in it.",
            remedy="Write them in ORTHANC_USERNAME and ORTHANC_PASSWORD, and the address alone in ORTHANC_URL.",
        )
    if parts.query or parts.fragment:
        raise SettingsError(
            "ORTHANC_URL has a question mark or a # in it.",
            remedy="Write the address of Orthanc's REST API, as http://orthanc.example:8042.",
        )
    return settings.orthanc_url
