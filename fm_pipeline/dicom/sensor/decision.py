"""Decide what the sensor does next: a pure function of the configuration, the running jobs, and the clock.

This is about the jobs that the sensor starts. What a person starts on a page goes through `console/launching.py`.

Rules: one import runs at a time, whoever started it. An unfinished job comes before new files. Nothing is given up
silently. The cursor holds when the directory was last polled.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from fm_pipeline.dicom.configuration.configuration import SyncConfiguration
from fm_pipeline.dicom.history.jobs import Job
from fm_pipeline.dicom.reasons import NOT_TAKEN

# A failed job is tried again after this, then after twice this and so on, for five hours in all: Orthanc may be down
# for a night, and must not be called all through it.
FIRST_PAUSE = timedelta(minutes=10)
# The same for a job whose run was lost, or ended before it began: its machine is back sooner than an Orthanc.
FIRST_RESTART = timedelta(minutes=1)
MOST_ATTEMPTS = 6


@dataclass(frozen=True)
class SensorCursor:
    """The cursor of the sensor.

    Attributes:
        looked_at: when the directory was last looked at, and could be read.
    """

    looked_at: datetime | None = None

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        """Parse a cursor. An invalid one counts as none: the next poll takes longer, and nothing is lost."""
        try:
            content = json.loads(cursor or "{}")
            at = content.get("looked_at")
            return cls(datetime.fromisoformat(at) if at else None)
        except (ValueError, AttributeError, TypeError):
            return cls()

    def write(self) -> str:
        """Return the cursor for the next tick."""
        return json.dumps({"looked_at": self.looked_at.isoformat() if self.looked_at else None})


@dataclass(frozen=True)
class OwnJob:
    """An unfinished job of the sensor: pending, failed, or marked as running without a process.

    Attributes:
        attempts: the number of runs that were started for it.
    """

    job: Job
    attempts: int

    @property
    def given_up(self) -> bool:
        """Whether only a person can start it again."""
        return self.attempts >= MOST_ATTEMPTS

    @property
    def next_attempt(self) -> datetime | None:
        """When it may be started again; None: at once."""
        if not self.attempts:
            return None
        failed = self.job.status == "failed"
        since = self.job.completed_at if failed else self.job.updated_at
        doubled: int = 2 ** (self.attempts - 1)
        return since + (FIRST_PAUSE if failed else FIRST_RESTART) * doubled if since else None


@dataclass(frozen=True)
class Wait:
    """Do nothing. `reason` is shown on the sensor's page."""

    reason: str


@dataclass(frozen=True)
class Start:
    """Start a run for a job.

    Attributes:
        created_at: of the job.
    """

    job_id: int
    attempt: int
    created_at: datetime

    @property
    def run_key(self) -> str:
        """The run key. Dagster never reuses one, even of a failed run, so it contains the attempt."""
        return run_key(self.job_id, self.attempt, self.created_at)


def run_keys(job: Job) -> list[str]:
    """Return the run keys of all attempts at a job."""
    return [run_key(job.id, attempt, job.created_at) for attempt in range(1, MOST_ATTEMPTS + 1)]


def run_key(job_id: int, attempt: int, created_at: datetime) -> str:
    """Return the run key of an attempt at a job.

    The time tells a job from one that had its id before the database was restored from a backup.
    """
    return f"dicom-job-{job_id}-{created_at.astimezone(UTC):%Y%m%d%H%M%S}-attempt-{attempt}"


@dataclass(frozen=True)
class Poll:
    """Poll the directory."""

    path: str


def next_step(  # noqa: PLR0911  # each is one rule
    configuration: SyncConfiguration,
    watermark: SensorCursor,
    *,
    now: datetime,
    runs_unfinished: int,
    jobs_at_work: Sequence[int],
    own_jobs: Sequence[OwnJob],
) -> Wait | Start | Poll:
    """Decide what to do at this tick.

    Args:
        runs_unfinished: the number of Dagster's queued and running imports.
        jobs_at_work: jobs that a live process runs, including commands.
        own_jobs: oldest first.
    """
    if not configuration.monitoring_enabled or not configuration.hospital_data_path:
        return Wait(
            "Watching is off. To switch it on: the console, page DICOM, Configuration; or fm-pipeline dicom configure"
            " --monitoring-enabled"
        )
    if jobs_at_work:
        return Wait(f"Import job {jobs_at_work[0]} runs.")
    if runs_unfinished:
        return Wait("A run of an import waits or begins.")
    for own in own_jobs:
        if own.given_up:
            continue
        if own.next_attempt and now < own.next_attempt:
            if own.job.error_reason in NOT_TAKEN:
                continue  # only those files are left, and new files need not wait for an administrator
            why = f" ({own.job.error_reason})" if own.job.error_reason else ""
            what = f"failed{why}" if own.job.status == "failed" else "was not carried out to its end"
            return Wait(f"Import job {own.job.id} {what}; it is tried again at {own.next_attempt:%H:%M} UTC.")
        return Start(own.job.id, own.attempts + 1, own.job.created_at)
    if watermark.looked_at:
        # A clock that was set back must not stop the polling.
        left = watermark.looked_at + timedelta(seconds=configuration.monitoring_interval) - now
        if timedelta(0) < left <= timedelta(seconds=configuration.monitoring_interval):
            return Wait(f"The next look is in {left.total_seconds():.0f} seconds.")
    return Poll(configuration.hospital_data_path)


def next_sync(
    configuration: SyncConfiguration, *, now: datetime, runs_unfinished: int, jobs_at_work: Sequence[int]
) -> str | None:
    """Return why the scheduled import of the whole directory is skipped; None if it is due."""
    if not configuration.sync_enabled or not configuration.hospital_data_path:
        return (
            "The nightly import is off. To switch it on: the console, page DICOM, Configuration; or fm-pipeline dicom"
            " configure --sync-enabled"
        )
    if runs_unfinished or jobs_at_work:
        return "An import runs or waits already."
    if configuration.last_sync_at:
        due = configuration.last_sync_at + timedelta(seconds=configuration.sync_interval)
        if configuration.last_sync_at <= now < due:
            return f"The last one was at {configuration.last_sync_at:%Y-%m-%d %H:%M} UTC; sync_interval has not passed."
    return None
