"""Whether FileMaker, S3 and Orthanc answer now: few requests, which store and change nothing, with short time-outs.

`check_services`, `check_filemaker` and `check_orthanc` look closer, before a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.errors import OrthancError
from fm_pipeline.dicom.orthanc.responses import OrthancLimits
from fm_pipeline.errors import DatabaseError, PipelineError
from fm_pipeline.filemaker.connect import open_door
from fm_pipeline.filemaker.door import TABLE_WORDS
from fm_pipeline.pluralize import counted
from fm_pipeline.preflight.orthanc import ask_for_sample
from fm_pipeline.preflight.services import TIMEOUT_SECONDS, with_short_timeouts
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import open_bucket
from fm_pipeline.storage.client import make_client

State = Literal["connected", "not connected", "not set up"]


@dataclass(frozen=True)
class ConnectionState:
    """One system, as it answered.

    Attributes:
        name: of the system.
        where: host and file or bucket; no credentials.
        found: what it said of itself; if it did not answer, what happened and what to do.
    """

    name: str
    where: str
    state: State
    found: str


def read_connections(settings: Settings) -> list[ConnectionState]:
    """Ask each system; FileMaker by a login. An error of one is its state, never an exception."""
    short = with_short_timeouts(settings).model_copy(
        update={"filemaker_timeout_seconds": min(settings.filemaker_timeout_seconds, TIMEOUT_SECONDS)}
    )
    address, filemaker = settings.filemaker_url, f"{_host(settings.filemaker_url)}, file {settings.filemaker_database}"
    if settings.filemaker_door == "exports":
        address = filemaker = str(settings.filemaker_exports_folder or "")
    bucket = f"{_host(settings.s3_endpoint_url) or settings.aws_region}, bucket {settings.s3_bucket}"
    return [
        _asked("FileMaker", address, filemaker, lambda: _filemaker(short)),
        _asked("S3", settings.s3_bucket, bucket, lambda: _s3(short)),
        _asked("Orthanc", settings.orthanc_url, _host(settings.orthanc_url), lambda: _orthanc(short)),
    ]


def _asked(name: str, address: str | None, where: str, ask: Callable[[], str]) -> ConnectionState:
    if not address:
        return ConnectionState(name, "", "not set up", "Its settings are empty.")
    try:
        return ConnectionState(name, where, "connected", ask())
    except PipelineError as error:
        return ConnectionState(name, where, "not connected", f"{error.what} {error.remedy}".strip())


def _filemaker(settings: Settings) -> str:
    with open_door(settings) as door:
        version = "" if door.kind == "exports" else f"Version {door.version() or 'unknown'}; "
        return f"{version}{counted(len(door.tables()), TABLE_WORDS[door.kind])} can be seen."


def _s3(settings: Settings) -> str:
    with closing(make_client(settings, attempts=1)) as client:
        open_bucket(settings, client).exists("patients/")
    return "The bucket can be listed."


def _orthanc(settings: Settings) -> str:
    with Orthanc.from_settings(settings) as orthanc:
        system, limits = orthanc.system(), orthanc.limits()
    return " ".join([f"Version {system.get('Version') or 'unknown'}.", *_room(limits), *_lost(settings)])


def _lost(settings: Settings) -> Iterator[str]:
    try:
        with connect(settings.nexus_database_url.get_secret_value()) as connection:
            sample = ask_for_sample(settings, connection)
    except DatabaseError:
        return
    except OrthancError as error:
        yield f"Whether it has what imports stored is not known. {error.what}"
        return
    if sample.lost:
        yield f"It does not have {sample.what_is_lost}; fm-pipeline check says what to do."


def _room(limits: OrthancLimits) -> Iterator[str]:
    yield f"It holds {size_formatted(limits.held_bytes)} of {counted(limits.held_patients, 'patient')}."
    if limits.megabytes:
        left = max((limits.megabytes << 20) - limits.held_bytes, 0)
        yield f"{size_formatted(left)} are left until MaximumStorageSize."
    if limits.patients:
        left = max(limits.patients - limits.held_patients, 0)
        yield f"{counted(left, 'patient')} more until MaximumPatientCount."
    if not (limits.megabytes or limits.patients):
        yield "It has no limit of its own; its disk is the limit."


def _host(url: str | None) -> str:
    return urlsplit(url).netloc.rpartition("@")[2] if url else ""
