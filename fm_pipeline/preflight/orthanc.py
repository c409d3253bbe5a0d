"""Check Orthanc: version, privileges and free space, by requests that store and change nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection

from fm_pipeline.db.migrate import is_migrated
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.dicom.history.samples import stored_instances, taken_back_instances
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.errors import FileNotTaken, OrthancError
from fm_pipeline.dicom.orthanc.responses import OrthancLimits, is_older
from fm_pipeline.dicom.orthanc.trial import try_questions, try_upload
from fm_pipeline.dicom.reasons import NOT_TAKEN_REMEDIES, sentence
from fm_pipeline.errors import SettingsError
from fm_pipeline.pluralize import counted
from fm_pipeline.preflight.finding import Finding, FindingBuilder
from fm_pipeline.preflight.services import with_short_timeouts
from fm_pipeline.settings import Settings

SAFE = (1, 12, 11)  # the first without CVE-2026-5437 to 5445
TRIED_BYTES = 16 << 20  # above what proxies let through unless they are told otherwise: nginx 1 MB
NEARLY = 0.9  # of a limit
LITTLE_ROOM = 0.1  # of a disk


def check_orthanc(settings: Settings, build: FindingBuilder) -> Iterator[Finding]:
    """Check Orthanc.

    Raises:
        SettingsError: ORTHANC_URL or ORTHANC_CA_BUNDLE cannot be used.
    """
    with Orthanc.from_settings(with_short_timeouts(settings)) as orthanc:
        try:
            system = orthanc.system()
        except OrthancError as error:
            yield build.from_error("orthanc_unreachable", "Orthanc", error)
            return
        yield from _version(
            system, build, "lets the account in" if settings.orthanc_username else "asks for no password"
        )
        yield _rights(orthanc, build)
        yield from _store(orthanc, build, keeps_all=settings.orthanc_keeps_all)


@dataclass(frozen=True)
class SampleInOrthanc:
    """What Orthanc has of a sample of the history.

    Attributes:
        asked: instances that imports stored or found first and last.
        lost: those of them that Orthanc does not have.
        back: instances that were taken back, and that Orthanc has.
    """

    asked: int = 0
    lost: int = 0
    back: int = 0

    @property
    def what_is_lost(self) -> str:
        """A part of a sentence."""
        return f"{self.lost:,} of {counted(self.asked, 'instance')} that imports stored or found first and last"


def ask_for_sample(settings: Settings, connection: Connection) -> SampleInOrthanc:
    """Ask Orthanc for a sample of the history: it may have been replaced, or restored from a backup.

    Args:
        connection: to Nexus' database; before our tables are migrated, nothing is asked for.

    Raises:
        DatabaseError: the history cannot be read.
        OrthancError, SettingsError: Orthanc cannot be asked.
    """
    if not is_migrated(connection):
        return SampleInOrthanc()
    with connection.cursor() as cursor:
        stored = stored_instances(cursor) if settings.orthanc_keeps_all else []
        taken_back = taken_back_instances(cursor)
    connection.rollback()
    with Orthanc.from_settings(settings) as orthanc:
        held = orthanc.sizes([*stored, *taken_back]).keys()
    return SampleInOrthanc(len(stored), len(set(stored) - held), len(held & set(taken_back)))


def check_instances(settings: Settings, connection: Connection, build: FindingBuilder) -> Iterator[Finding]:
    """Check whether a sample of the history fits Orthanc.

    Args:
        connection: as `ask_for_sample`.

    Raises:
        DatabaseError: the history cannot be read.
    """
    try:
        sample = ask_for_sample(with_short_timeouts(settings), connection)
    except (OrthancError, SettingsError):  # a finding of `check_orthanc`
        return
    subject = "instances in Orthanc"
    if sample.lost:
        yield build.violation("orthanc_lacks_instances", subject, f"{sample.what_is_lost} are not there")
    elif sample.asked:
        yield build.ok(
            subject, f"{counted(sample.asked, 'instance')} that imports stored or found first and last are there"
        )
    if sample.back:
        are = "is" if sample.back == 1 else "are"
        found = f"{counted(sample.back, 'instance')} of imports that were taken back {are} there"
        yield build.violation("orthanc_has_taken_back", subject, found)


def check_disk(folder: str, build: FindingBuilder) -> Iterator[Finding]:
    """Check the free space on Orthanc's disk, if this machine can access it; the folder is not named."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:  # it is on another machine
        return
    room = f"{size_formatted(disk.free)} of {size_formatted(disk.total)} are free"
    if disk.free < LITTLE_ROOM * disk.total:
        yield build.violation("orthanc_nearly_full", "Orthanc's disk", room, "Free disk space on Orthanc's server.")
    else:
        yield build.ok("Orthanc's disk", room)


def _version(system: Mapping[str, Any], build: FindingBuilder, login: str) -> Iterator[Finding]:
    version = str(system.get("Version", ""))
    if is_older(system, SAFE):
        yield build.violation("orthanc_too_old", "Orthanc", f"{version}; {login}")
    else:
        yield build.ok("Orthanc", f"{version or 'of unknown version'}; {login}")
    mode = system.get("OverwriteInstancesMode", "")  # newer ones tell it beside the Boolean
    if system.get("OverwriteInstances") is True or mode in {"Always", "IfChanged"}:
        yield build.violation("orthanc_overwrites", "OverwriteInstances", f"on ({mode})" if mode else "on")


def _rights(orthanc: Orthanc, build: FindingBuilder) -> Finding:
    """Check the privileges that an import needs."""
    subject = "rights in Orthanc"
    try:
        try_upload(orthanc)
        try_questions(orthanc)
        try_upload(orthanc, TRIED_BYTES)
    except FileNotTaken as error:
        found = f"tried with {size_formatted(TRIED_BYTES)} of text. {sentence(error.reason)}"
        return build.violation("orthanc_right_missing", subject, found, NOT_TAKEN_REMEDIES[error.reason])
    except OrthancError as error:
        return build.from_error("orthanc_right_missing", subject, error)
    return build.ok(subject, f"files are taken, up to {size_formatted(TRIED_BYTES)} at least; nothing was stored")


def _store(orthanc: Orthanc, build: FindingBuilder, *, keeps_all: bool) -> Iterator[Finding]:
    subject = "Orthanc's store"
    try:
        limits = orthanc.limits()
    except OrthancError as error:
        yield build.from_error("orthanc_right_missing", subject, error)
        return
    holds = f"{size_formatted(limits.held_bytes)} of {counted(limits.held_patients, 'patient')}"
    if near := _limits(limits, NEARLY):
        beyond = "refuses what is new" if limits.rejects else "deletes its oldest patients for what is new"
        yield build.violation("orthanc_nearly_full", subject, f"{holds}; {' and '.join(near)}; beyond, it {beyond}")
    elif limits.reports and limits.may_recycle and keeps_all:
        yield build.violation("orthanc_recycles", subject, f"{holds}; {' and '.join(_limits(limits))}")
    else:
        yield build.ok(subject, holds)


def _limits(limits: OrthancLimits, near: float = 0.0) -> list[str]:
    """Name the limits of which at least a share is used."""
    found = []
    if limits.megabytes and limits.held_bytes >= near * (limits.megabytes << 20):
        found.append(f"MaximumStorageSize is {limits.megabytes:,} MB")
    if limits.patients and limits.held_patients >= near * limits.patients:
        found.append(f"MaximumPatientCount is {limits.patients:,}")
    return found
