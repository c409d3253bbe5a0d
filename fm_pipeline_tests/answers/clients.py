"""The pipeline's requests to each server, with short time-outs; each must end in an answer or a named error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from pydantic import SecretStr

from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.delivery import Delivery, Halted, KillsOrthanc, Undeliverable
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.errors import FileMakerError, PipelineError, StorageError
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.containers import ContainerDownloads
from fm_pipeline.filemaker.data_api.paging import read_completely
from fm_pipeline.filemaker.door import Reading
from fm_pipeline.filemaker.model import Field
from fm_pipeline.filemaker.odata.client import ODataClient
from fm_pipeline.filemaker.odata.door import ODataDoor
from fm_pipeline.filemaker.transport import Transport
from fm_pipeline.notifications.smtp import Email, EmailNotSent, EmailUnconfirmed, deliver
from fm_pipeline.preflight.finding import FindingBuilder
from fm_pipeline.preflight.orthanc import check_orthanc
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import Bucket, StoredObject
from fm_pipeline.storage.client import make_client

TIME_OUT = 0.2  # seconds, of one answer
PATIENCE = 60.0  # seconds for a question with all its retries on a busy machine; a hang takes longer
Question = Callable[[], object]
ID = "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"


@dataclass(frozen=True)
class Asking:
    """Questions to one kind of server.

    Attributes:
        questions: by name, of a port.
        ends: errors in which they may end.
        patience_seconds: time in which they must end.
        never_said: texts that neither an answer nor an error may contain.
    """

    questions: Mapping[str, Callable[[int], object]]
    ends: tuple[type[BaseException], ...]
    patience_seconds: float
    never_said: tuple[str, ...] = ()


def settings(**given: Any) -> Settings:
    """Return settings with only the given values."""
    return Settings(_env_file=None, nexus_database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"), **given)  # type: ignore[call-arg]


def _orthanc(question: Callable[[Orthanc], object]) -> Callable[[int], object]:
    def ask(port: int) -> object:
        with Orthanc(f"http://127.0.0.1:{port}", "user", "word", timeout_seconds=TIME_OUT) as orthanc:
            return question(orthanc)

    return ask


def _delivered(orthanc: Orthanc) -> object:
    delivery = Delivery(orthanc, threading.Event(), patience_seconds=TIME_OUT)
    return delivery.send(lambda: b"content", 7)


def _checked(port: int) -> object:
    given = settings(orthanc_url=f"http://127.0.0.1:{port}", orthanc_timeout_seconds=TIME_OUT)
    return list(check_orthanc(given, FindingBuilder(load_rules(), "DICOM")))


ORTHANC = Asking(
    {
        "system": _orthanc(Orthanc.system),
        "statistics": _orthanc(Orthanc.statistics),
        "limits": _orthanc(Orthanc.limits),
        "overwrites": _orthanc(Orthanc.overwrites),
        "sizes": _orthanc(lambda orthanc: orthanc.sizes([ID])),
        "md5": _orthanc(lambda orthanc: orthanc.md5(ID)),
        "transfer syntax": _orthanc(lambda orthanc: orthanc.transfer_syntax(ID)),
        "upload": _orthanc(lambda orthanc: orthanc.upload(b"content", 7)),
        "upload of blocks": _orthanc(lambda orthanc: orthanc.upload(iter([b"con", b"tent"]), 7)),
        "delivery": _orthanc(_delivered),
        "check": _checked,
    },
    (PipelineError, Halted, KillsOrthanc, Undeliverable),
    PATIENCE,
)


def _filemaker(question: Callable[[DataApiClient], object]) -> Callable[[int], object]:
    def ask(port: int) -> object:
        url = f"http://127.0.0.1:{port}"
        with DataApiClient(url, "clinic", "user", "word", timeout=TIME_OUT, sleep=lambda _: None) as client:
            return question(client)

    return ask


FILEMAKER = Asking(
    {
        "version": _filemaker(DataApiClient.product_info),
        "layouts": _filemaker(DataApiClient.layouts),
        "fields": _filemaker(lambda client: client.layout_fields("Notes")),
        "page": _filemaker(lambda client: client.page("Notes", 1, 10)),
        "records": _filemaker(
            lambda client: read_completely(partial(client.page, "Notes"), list, page_size=10, attempts=1)
        ),
        "record": _filemaker(lambda client: client.record("Notes", 1)),
        "find": _filemaker(lambda client: client.find("Notes", [{"id": "==1"}])),
        "edit": _filemaker(lambda client: client.edit("Notes", 1, {"id": "1"})),
        "file": lambda port: _filemaker(
            lambda client: ContainerDownloads(client, longest=TIME_OUT).download(
                "Notes", 1, "image", f"http://127.0.0.1:{port}/Streaming_SSL/MainDB/1.jpg"
            )
        )(port),
    },
    (FileMakerError,),
    PATIENCE,
)


def _odata(question: Callable[[ODataDoor], object]) -> Callable[[int], object]:
    def ask(port: int) -> object:
        transport = Transport(f"http://127.0.0.1:{port}", ca_bundle=None, timeout=TIME_OUT, sleep=lambda _: None)
        with ODataDoor(ODataClient(transport, "clinic", "user", "word", count_timeout=TIME_OUT)) as door:
            return question(door)

    return ask


_ID_FIELDS = [Field("id", "normal", "text"), Field("phone", "normal", "text", (1, 2))]
ODATA = Asking(
    {
        "version": _odata(ODataDoor.version),
        "tables": _odata(ODataDoor.tables),
        "fields": _odata(lambda door: door.fields("Notes")),
        "sample": _odata(lambda door: door.sample("Notes", _ID_FIELDS)),
        "records": _odata(lambda door: door.read(Reading("Notes", _ID_FIELDS[:1], 10), list)),
        "quoted": _odata(lambda door: door.client.count("Notes of all")),
        "file": _odata(lambda door: door.client.file("Notes", 1, "image")),
    },
    (FileMakerError,),
    PATIENCE,
)


@lru_cache
def _bucket(port: int) -> Bucket:
    """Return one client for all questions to a port; creating one takes longer than a question."""
    given = settings(
        s3_endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="key",
        aws_secret_access_key=SecretStr("secret"),
        s3_timeout_seconds=TIME_OUT,
    )
    return Bucket(make_client(given, attempts=1), "clinic")


def _s3(question: Callable[[Bucket], object]) -> Callable[[int], object]:
    def ask(port: int) -> object:
        try:
            return question(_bucket(port))
        finally:
            _bucket(port).client.close()  # its connections; it opens others

    return ask


def _copied(bucket: Bucket) -> object:
    source = StoredObject("filemaker-import/1.jpg", 7, "etag", None)  # type: ignore[arg-type]
    return bucket.copy(source, "patients/1.jpg", "image/jpeg")


S3 = Asking(
    {
        "access": _s3(Bucket.check_access),
        "list": _s3(lambda bucket: list(bucket.list("patients/"))),
        "find": _s3(lambda bucket: bucket.find("patients/1.jpg")),
        "exists": _s3(lambda bucket: bucket.exists("patients/1.jpg")),
        "read": _s3(lambda bucket: bucket.read("patients/1.jpg")),
        "read a part": _s3(lambda bucket: bucket.read("patients/1.jpg", 1, 3)),
        "digest": _s3(lambda bucket: bucket.digest("patients/1.jpg")),
        "put": _s3(lambda bucket: bucket.put("patients/1.jpg", b"content", "image/jpeg")),
        "copy": _s3(_copied),
    },
    (StorageError,),
    PATIENCE,
)


def _mail(security: str, username: str | None) -> Callable[[int], object]:
    def ask(port: int) -> object:
        given = settings(
            smtp_host="127.0.0.1",
            smtp_port=port,
            smtp_from="pipeline@clinic.example",
            smtp_to="one@clinic.example, two@clinic.example",
            smtp_security=security,
            smtp_username=username,
            smtp_password=SecretStr("word") if username else None,
        )
        return deliver(given, Email("1", "subject", "text\n.\n..\n"), lambda: True, limit_seconds=2 * TIME_OUT)

    return ask


SMTP = Asking(
    {"plain": _mail("none", None), "starttls": _mail("starttls", "user"), "tls": _mail("tls", None)},
    (EmailNotSent, EmailUnconfirmed),
    PATIENCE,
)


@contextmanager
def within(patience_seconds: float) -> Iterator[None]:
    """Check that the block ends within this time.

    Raises:
        AssertionError: it did not.
    """
    begun = time.monotonic()
    yield
    took = time.monotonic() - begun
    assert took < patience_seconds, f"it took {took:.1f} s"
