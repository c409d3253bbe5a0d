"""The hospital of the demo: a directory of DICOM files that the sensor detects and imports into Orthanc."""

from __future__ import annotations

import hashlib
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import requests
from pydicom.errors import InvalidDicomError
from rich.console import Console

from fm_pipeline.dicom.configuration.configuration import SHORTEST_INTERVAL, configure
from fm_pipeline.dicom.formats import size_formatted
from fm_pipeline.dicom.history.history import list_history
from fm_pipeline.dicom.history.jobs import SENSOR, Job, list_jobs
from fm_pipeline.sandbox.demo.clinic import ComparisonResult
from fm_pipeline.sandbox.dicom.hospital import make_hospital
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.stack import HOSPITAL_FOLDER, Stack
from fm_pipeline.sandbox.stack.waiting import wait_until
from fm_pipeline.settings import load_settings

HOSPITAL = "facts about the hospital's DICOM files are as expected"
# The sensor's interval, the start of a run and the import together take some twenty seconds.
LIMIT_SECONDS = 180.0
HISTORY_LIMIT = 1_000  # rows of one page at the most; the hospital of the demo has some three hundred
# A real hospital needs a minute or more; here no file is written slowly.
QUIET_PERIOD_SECONDS = 2
_DIRECTORY = "1.2.840.10008.1.3.10"
# Its Patient ID has an unknown VR, so its last blank is not padding, and Orthanc keeps it.
_UNKNOWN_VR = frozenset({"badVR.dcm"})


class Hospital:
    """The hospital's directory and its import.

    Args:
        stack: with Orthanc, if this machine has it.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.folder = stack.state_dir / HOSPITAL_FOLDER
        self._files = 0

    @property
    def available(self) -> bool:
        """Whether the demo has Orthanc."""
        return OrthancService in self._stack.service_types

    def environment(self) -> dict[str, str]:
        """Return the settings that Dagster needs when it starts."""
        return {"HOSPITAL_DATA_PATH": str(self.folder)}

    def appear(self, console: Console) -> None:
        """Create the directory and turn the sensor on. Everything else is up to the sensor."""
        if not self.available:
            return
        self._files = make_hospital(self.folder)
        changes = {
            "monitoring_enabled": True,
            "monitoring_interval": SHORTEST_INTERVAL,
            "quiet_period": QUIET_PERIOD_SECONDS,
        }
        configure(load_settings(), changes, actor="demo", now=datetime.now(UTC))
        console.print(f"A hospital's directory of {self._files:,} files appears; the sensor watches it.")

    def judge(self, console: Console) -> list[ComparisonResult]:
        """Wait until the sensor has imported everything, and compare Orthanc with the expected instances."""
        if not self.available:
            return []
        expected = expected_instances(self.folder)
        with console.status("Waiting until the sensor has seen the hospital's directory …"):
            wait_until(lambda: self._done(len(expected)), LIMIT_SECONDS)
        held = self._instances()
        page = list_history(self._database_url, limit=HISTORY_LIMIT)
        jobs = list_jobs(self._database_url).jobs
        for job in reversed(jobs):
            console.print(
                f"Import job {job.id}, started by {job.requested_by}: {job.files_processed:,} files,"
                f" {size_formatted(job.total_size_bytes)}, {job.files_imported:,} imported into Orthanc.",
                soft_wrap=True,
                highlight=False,
            )
        # A file in an archive has a row of its own, beside that of the archive.
        on_disk = sum("!/" not in row.file_path for row in page.history)
        unlike = len(held ^ expected)
        ends = ", ".join(f"{count:,} {name}" for name, count in page.statistics.outcomes.items() if count)
        found = f"{len(held):,} of {len(expected):,}" + (f", {unlike:,} unlike" if unlike else "")
        return [
            ComparisonResult(HOSPITAL, "Orthanc holds exactly the instances that it should", not unlike, found),
            ComparisonResult(HOSPITAL, "every file has one outcome", on_disk == self._files, f"{on_disk:,}: {ends}"),
            ComparisonResult(
                HOSPITAL,
                "the sensor started it, and nobody else",
                bool(jobs) and all(job.requested_by == SENSOR and job.status == "completed" for job in jobs),
                f"{len(jobs)} jobs",
            ),
            ComparisonResult(
                HOSPITAL,
                "the comparison with Orthanc found nothing missing",
                bool(jobs) and not any(job.instances_missing or job.instances_differing for job in jobs),
                f"{sum(job.instances_expected or 0 for job in jobs):,} compared",
            ),
        ]

    def invite(self, console: Console) -> None:
        """Print how to try it while the UI is open."""
        if self.available:
            orthanc = self._stack.service(OrthancService).settings()
            console.print(f"Orthanc: {orthanc['ORTHANC_URL']}/app/explorer.html", soft_wrap=True)
            console.print(
                f"  user {orthanc['ORTHANC_USERNAME']}, password {orthanc['ORTHANC_PASSWORD']}",
                soft_wrap=True,
                highlight=False,
            )
            console.print("Copy a DICOM file into this folder, and it arrives there within a minute:")
            console.print(f"  {self.folder}", soft_wrap=True, highlight=False)

    @property
    def _database_url(self) -> str:
        return load_settings().nexus_database_url.get_secret_value()

    def _done(self, expected: int) -> bool:
        jobs = list_jobs(self._database_url).jobs
        ended = bool(jobs) and all(_ended(job) for job in jobs)
        return ended and sum(job.files_processed for job in jobs) >= self._files and len(self._instances()) >= expected

    def _instances(self) -> set[str]:
        orthanc = self._stack.service(OrthancService).settings()
        with requests.Session() as session:
            session.trust_env = False
            session.auth = (orthanc["ORTHANC_USERNAME"], orthanc["ORTHANC_PASSWORD"])
            return set(session.get(f"{orthanc['ORTHANC_URL']}/instances", timeout=60).json())


def _ended(job: Job) -> bool:
    return job.status not in ("pending", "running")


def expected_instances(folder: Path) -> set[str]:
    """Return Orthanc's ids of the instances that pydicom reads in a directory; the importer does not use pydicom.

    Orthanc keeps the first of several files with the same id. Truncated files are duplicates of other files.
    """
    expected = set()
    for path in folder.rglob("*"):
        if path.is_file() and (identifiers := _identifiers(path)):
            digest = hashlib.sha1("|".join(identifiers).encode(), usedforsecurity=False).hexdigest()
            expected.add("-".join(digest[start : start + 8] for start in range(0, 40, 8)))
    return expected


def _identifiers(path: Path) -> tuple[str, ...] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of pydicom's files are wrong on purpose
        try:
            data = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            uids = tuple(str(data.get(name) or "") for name in _UIDS)
            patient_id = str(data.get("PatientID") or "").rstrip(" ")
        except (InvalidDicomError, AttributeError, ValueError, TypeError, NotImplementedError, EOFError):
            return None
    if not all(uids) or data.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY:
        return None
    return (f"{patient_id} " if path.name in _UNKNOWN_VR else patient_id, *uids)


_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
