"""A client of Orthanc's REST API with persistent connections. `responses` translates responses into errors.

Every call has a timeout.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from fm_pipeline.dicom.orthanc import errors as oe
from fm_pipeline.dicom.orthanc.address import need_orthanc_url
from fm_pipeline.dicom.orthanc.connection_pool import ConnectionPool, Content, OrthancResponse
from fm_pipeline.dicom.orthanc.held_content import HeldPatient, held_patients, held_size, held_sizes
from fm_pipeline.dicom.orthanc.responses import (
    BAD_FORMAT,
    FILE_FAULTS,
    OrthancLimits,
    error_of_query,
    error_of_upload,
    is_older,
    is_system,
    orthanc_status,
    overwrites_instances,
)
from fm_pipeline.dicom.orthanc.stored_instance import StoredInstance, stored_instance, stored_instances
from fm_pipeline.dicom.orthanc.zip_body import zip_body
from fm_pipeline.errors import SettingsError
from fm_pipeline.http_response import SLOWEST_BYTES_PER_SECOND
from fm_pipeline.settings import Settings

_STALLED_SECONDS = 30  # half of the time that 1.10.1 waits for the rest of an upload
BULK_CONTENT = (1, 9, 4)  # the first version with /tools/bulk-content
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_UID = re.compile(r"[0-9.]{1,64}")


class Orthanc:
    """A client for all threads of a job.

    Args:
        url: of Orthanc; with a path only if a proxy needs one.
        username, password: empty for an Orthanc without login.
        timeout_seconds: for connecting and for the response; longer for a large file.
        ca_bundle: PEM file of the authority that signed the server's certificate; None for the authorities that this
            machine trusts.
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
        """Create a client from the settings.

        Raises:
            SettingsError: ORTHANC_URL is missing or not a URL, or ORTHANC_CA_BUNDLE cannot be read.
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
        except ValueError:  # an invalid port
            raise SettingsError(
                "ORTHANC_URL is not a URL.", remedy="Write it as http://orthanc.example:8042."
            ) from None
        except OSError:  # ssl.SSLError is one
            raise SettingsError(
                "ORTHANC_CA_BUNDLE: the file does not exist, cannot be read, or has no certificate of an authority.",
                remedy="Set it to the PEM file of the authority that signed Orthanc's certificate, or leave it empty.",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    def upload(self, body: Content, size: int) -> StoredInstance:
        """Send one file.

        Args:
            body: the bytes, or an iterable of blocks for a file that is too large for memory. Its exceptions propagate;
                the connection is then closed, and Orthanc stores nothing.
            size: of the whole body in bytes.

        Raises:
            OrthancError: any of its subclasses.
        """
        if isinstance(body, memoryview) and bytes(body[:2]) == b"PK":
            return self._upload_in_archive(body)
        answer = self._uploaded(body, size, "application/dicom")
        if (stored := stored_instance(answer)) is None:
            raise self._unusable("POST", "/instances", answer)
        return stored

    def _upload_in_archive(self, file: memoryview) -> StoredInstance:
        """Send one file in a ZIP archive, because its free preamble (PS3.10, 7.1) makes it look like one to Orthanc."""
        stored = list(self.upload_together([file]).values())
        if len(stored) != 1:
            raise oe.FileRefused(FILE_FAULTS[BAD_FORMAT], 200)
        return stored[0]

    def upload_together(self, files: Sequence[memoryview]) -> dict[str, StoredInstance]:
        """Send several files in one request, as a ZIP archive.

        Returns:
            Orthanc's responses by the id of the instance. Orthanc does not say which file a response is for, and gives
            none for a file that it refuses as bad.

        Raises:
            OrthancError: any of its subclasses. Some of the files may be stored.
        """
        body = zip_body(files)
        answer = self._uploaded(body, sum(map(len, body)), "application/zip")
        if (stored := stored_instances(answer)) is None:
            raise self._unusable("POST", "/instances", answer)
        return stored

    def _uploaded(self, body: Content, size: int, content_type: str) -> OrthancResponse:
        seconds = self._timeout + size / SLOWEST_BYTES_PER_SECOND
        headers = {"Content-Length": str(size), "Content-Type": content_type}
        started = time.monotonic()
        answer = self._ask("POST", "/instances", body, headers, seconds)
        if answer.status != 200:
            if answer.status == 400 and not answer.data and time.monotonic() - started > _STALLED_SECONDS:
                raise oe.AnswerTimedOut  # the response of 1.10.1 to a stalled upload; it says nothing about the file
            raise self._error_of_upload(answer, size)
        return answer

    def sizes(self, instance_ids: Sequence[str]) -> dict[str, int]:
        """Return which of these instances Orthanc holds, with the size of their file in bytes.

        Raises:
            OrthancError: no response, or an unusable one.
        """
        if not instance_ids:
            return {}
        answer = self._bulk_content(instance_ids)
        if answer is None:
            found = {each: self._size(each) for each in instance_ids}
            return {each: size for each, size in found.items() if size is not None}
        if (sizes := held_sizes(answer)) is None:
            raise self._unusable("POST", "/tools/bulk-content", answer)
        return sizes

    def patients(self, patient_ids: Sequence[str]) -> dict[str, HeldPatient]:
        """Return which of these patients Orthanc holds; none before 1.9.4.

        Raises:
            OrthancError: no response, or an unusable one.
        """
        answer = self._bulk_content(patient_ids) if patient_ids else None
        if answer is None:
            return {}
        if (patients := held_patients(answer)) is None:
            raise self._unusable("POST", "/tools/bulk-content", answer)
        return patients

    def _bulk_content(self, ids: Sequence[str]) -> OrthancResponse | None:
        """Return what Orthanc holds of these ids, without unknown ones; None before 1.9.4, which cannot say it.

        Source: Orthanc's REST API, /tools/bulk-content.
        """
        body = json.dumps({"Resources": list(ids), "Metadata": False}).encode()
        answer = self._ask("POST", "/tools/bulk-content", body, {"Content-Type": "application/json"})
        if answer.status == 200:
            return answer
        if answer.status == 404 and self._is_older_than(BULK_CONTENT):
            return None
        raise self._fault(answer, "POST", "/tools/bulk-content")

    def _size(self, instance_id: str) -> int | None:
        answer = self._ask("GET", f"/instances/{instance_id}")
        if _is_nothing(answer):
            return None
        if answer.status != 200:
            raise self._fault(answer, "GET", "/instances/ID")
        if (size := held_size(answer)) is None:
            raise self._unusable("GET", "/instances/ID", answer)
        return size

    def _is_older_than(self, version: tuple[int, ...]) -> bool:
        """Return whether an Orthanc older than this version answers at the address.

        Raises:
            OrthancError: nothing answers now, so it is not known.
        """
        try:
            return is_older(self.system(), version)
        except oe.OrthancStop:
            return False

    def md5(self, instance_id: str) -> str | None:
        """Return the MD5 of the file that Orthanc holds of an instance; None if it holds none.

        If Orthanc keeps no MD5 (`StoreMD5ForAttachments`), the file itself is read.

        Raises:
            OrthancError: no response, or an unusable one.
        """
        answer = self._of_instance(instance_id, "attachments/dicom/md5")
        if answer is None:
            return self._md5_of_the_file(instance_id)
        md5 = answer.data.decode("ascii", "replace").strip()
        if not _MD5.fullmatch(md5):
            raise self._unusable("GET", "/instances/ID/attachments/dicom/md5", answer)
        return md5

    def transfer_syntax(self, instance_id: str) -> str | None:
        """Return the UID of the transfer syntax in which Orthanc holds an instance; None if it does not report it.

        Source: Orthanc's REST API, metadata `TransferSyntax` of instances.

        Raises:
            OrthancError: no response, or an unusable one.
        """
        answer = self._of_instance(instance_id, "metadata/TransferSyntax")
        if answer is None:
            return None
        syntax = answer.data.decode("ascii", "replace").strip(" \0")
        if syntax and not _UID.fullmatch(syntax):
            raise self._unusable("GET", "/instances/ID/metadata/TransferSyntax", answer)
        return syntax or None

    def delete_instance(self, instance_id: str) -> bool:
        """Delete an instance, and with the last one of a series, study or patient that one too.

        Source: Orthanc's REST API, DELETE /instances/{id}.

        Returns:
            False if Orthanc does not have it.

        Raises:
            OrthancError: no response, or a refusal.
        """
        answer = self._ask("DELETE", f"/instances/{instance_id}")
        if answer.status == 200:
            return True
        if _is_nothing(answer):
            return False
        if answer.status == 405 and self._known_limits().read_only:
            raise oe.ReadOnly
        raise self._fault(answer, "DELETE", "/instances/ID")

    def statistics(self) -> Mapping[str, Any]:
        """Return Orthanc's statistics: `CountInstances` and so on.

        Raises:
            OrthancError: no response, or an unusable one.
        """
        return self._object("/statistics")

    def system(self) -> Mapping[str, Any]:
        """Return Orthanc's version and the part of its configuration that it reports.

        Raises:
            OrthancError: no response, or an unusable one.
        """
        content = self._object("/system")
        if not is_system(content):
            raise oe.NotOrthanc(200)
        return content

    def overwrites(self) -> bool | None:
        """Return whether an upload replaces an existing instance; None before 1.11, which does not report it.

        Raises:
            OrthancError: no response, or an unusable one.
        """
        return overwrites_instances(self.system())

    def converts_to(self) -> str | None:
        """Return the transfer syntax to which Orthanc converts what it stores (`IngestTranscoding`).

        Returns:
            Empty for none; None before 1.11, which does not report it.

        Raises:
            OrthancError: no response, or an unusable one.
        """
        system = self.system()
        return str(system["IngestTranscoding"] or "") if "IngestTranscoding" in system else None

    def limits(self) -> OrthancLimits:
        """Return Orthanc's limits, as far as it reports them.

        Raises:
            OrthancError: no response, or an unusable one.
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
        """Return a response with status 200; None if Orthanc itself has nothing.

        A 404 without content also comes from Orthanc: for data that it does not keep (`StoreMD5ForAttachments`), or if
        it does not describe errors.
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
        fault = error_of_query(
            answer,
            method,
            path,
            with_login=self._with_login,
            is_orthanc=lambda: path != "/system" and self._is_orthanc(),
        )
        return self._or_scheme(answer, fault)

    def _error_of_upload(self, answer: OrthancResponse, size: int) -> oe.OrthancError:
        fault = error_of_upload(
            answer, size, with_login=self._with_login, is_orthanc=self._is_orthanc, limits=self._known_limits
        )
        return self._or_scheme(answer, fault)

    def _unusable(self, method: str, path: str, answer: OrthancResponse) -> oe.OrthancStop:
        """Return the error for a success status with content that is not Orthanc's."""
        if self._is_orthanc():
            return oe.UnusableAnswer(method, path, answer.status)
        return oe.NotOrthanc(answer.status)

    def _or_scheme(self, answer: OrthancResponse, fault: oe.OrthancError) -> oe.OrthancError:
        if answer.status == 400 and isinstance(fault, oe.NotOrthanc):  # an https server answers plain HTTP like this
            return self._connections.fault_of_scheme() or fault
        return fault

    def _is_orthanc(self) -> bool:
        """Return whether an Orthanc answers at the address.

        Raises:
            OrthancUnreachable, NoAnswer: nothing answers now, so it is not known.
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


def _is_nothing(answer: OrthancResponse) -> bool:
    return answer.status == 404 and (not answer.data or orthanc_status(answer) is not None)
