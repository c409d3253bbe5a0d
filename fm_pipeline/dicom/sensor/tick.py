"""One tick of the sensor: read the state, let `decision` decide, and act. Dagster launches the resulting run.

A tick creates at most one job, of at most `files_per_job` files. The job is committed before the run is requested. If
the tick is interrupted in between, the job stays pending and the next tick starts it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from psycopg2.extensions import connection as Connection

from fm_pipeline.db.audit import AuditOutcome, record
from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import is_migrated, migrate
from fm_pipeline.dicom.api.requests import prepare_import
from fm_pipeline.dicom.configuration.configuration import SyncConfiguration, mark_synced, read_configuration
from fm_pipeline.dicom.configuration.roots import allowed_path, excluded_folders
from fm_pipeline.dicom.history.jobs import SENSOR, Job, read_job, request_cancel, running_job_ids
from fm_pipeline.dicom.reasons import MISSING, NOT_TAKEN, sentence
from fm_pipeline.dicom.sensor.decision import (
    MOST_ATTEMPTS,
    OwnJob,
    Poll,
    SensorCursor,
    Start,
    Wait,
    next_step,
    next_sync,
)
from fm_pipeline.dicom.watch.poll import PollResult, poll
from fm_pipeline.dicom.watch.share_times import ShareTimes
from fm_pipeline.errors import DicomError, RequestError
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

_log = logging.getLogger(__name__)
# Jobs that failed longer ago are not retried: later jobs have found their files again.
OWN_JOBS_LAST = timedelta(days=7)
OWN_JOBS_LOOKED_AT = 20


@dataclass(frozen=True)
class StoppedJob:
    """A job of the sensor that has stopped, for an email: `fm_pipeline.notifications.email_texts.dicom_import`.

    Attributes:
        key: the same for each retry with the same reason.
        reason, message: its id, and the same in sentences.
        files: on record.
        marked: files may have been marked as missing.
        others_go_on: new files are imported meanwhile.
        retries: how often it is tried again at most.
        run_id: Dagster's, if there was one.
    """

    key: str
    id: int
    reason: str
    message: str
    files: int
    marked: bool
    others_go_on: bool
    retries: int
    run_id: str | None


@dataclass(frozen=True)
class TickResult:
    """The result of a tick.

    Attributes:
        start: a job to run now, or None.
        reason: for the sensor's page, without paths and names.
        stopped: to report. Each key is reported once.
        error: why the watched directory cannot be read. To report, and to raise then, because the tick has failed.
        error_key: constant until the directory can be read again.
    """

    start: Start | None
    reason: str
    watermark: SensorCursor
    stopped: tuple[StoppedJob, ...] = ()
    error: DicomError | None = None
    error_key: str = ""


def sense(
    settings: Settings,
    watermark: SensorCursor,
    *,
    now: datetime,
    runs_unfinished: int,
    attempts_of: Callable[[Job], int],
) -> TickResult:
    """One tick.

    Args:
        watermark: of the last tick.
        now: with a time zone.
        runs_unfinished: the number of Dagster's queued and running imports.
        attempts_of: returns the number of runs of a job.

    Raises:
        DatabaseError: the database does not answer; nothing was done.
    """
    database_url = settings.nexus_database_url.get_secret_value()
    with connect(database_url) as connection:
        _migrate_if_needed(connection, database_url)
        configuration = read_configuration(connection, settings)
        at_work, own = _jobs(connection, attempts_of, now)
        connection.commit()
        step = next_step(
            configuration,
            watermark,
            now=now,
            runs_unfinished=runs_unfinished,
            jobs_at_work=at_work,
            own_jobs=own,
        )
        stopped = _stopped(own)
        if isinstance(step, Start):
            reason = f"Import job {step.job_id} is started, attempt {step.attempt}."
            return TickResult(step, reason, watermark, stopped)
        if not at_work and not runs_unfinished:
            _give_up(database_url, own)
        if isinstance(step, Wait):
            return TickResult(None, step.reason, watermark, stopped)
        return replace(_look(settings, connection, configuration, step, watermark, now), stopped=stopped)


def sync_due(settings: Settings, *, now: datetime, runs_unfinished: int) -> tuple[str | None, bool]:
    """Check whether the scheduled import of the whole directory is due, and record its start if it is.

    Returns:
        The reason for skipping it, or None if it is due; and whether to pull files from the FTP server first.
    """
    database_url = settings.nexus_database_url.get_secret_value()
    with connect(database_url) as connection:
        _migrate_if_needed(connection, database_url)
        configuration = read_configuration(connection, settings)
        with connection.cursor() as cursor:
            at_work = sorted(running_job_ids(cursor))
        why = next_sync(configuration, now=now, runs_unfinished=runs_unfinished, jobs_at_work=at_work)
        if why is None:
            mark_synced(connection, settings, now)
        connection.commit()
    return why, configuration.ftp_enabled


def _look(
    settings: Settings,
    connection: Connection,
    configuration: SyncConfiguration,
    look: Poll,
    watermark: SensorCursor,
    now: datetime,
) -> TickResult:
    looked = replace(watermark, looked_at=now)
    try:
        root = allowed_path(settings, look.path)
    except RequestError as error:
        return _alarm(settings, connection, looked, str(error))
    found = poll(
        connection,
        root,
        now=now,
        quiet_seconds=configuration.quiet_period,
        max_files=configuration.files_per_job,
        excluded=excluded_folders(settings),
    )
    if found.paused:
        said = f"{sentence(found.paused)} Nothing was imported, and nothing was marked as missing."
        if found.paused == "not_mounted":
            said += " If the directory was moved to another disk on purpose, save its path again, and nothing else."
        return _alarm(settings, connection, looked, said)
    _end_alarm(settings, connection)
    if found.alarms:
        _log.warning("%s of the watched directory cannot be read.", counted(len(found.alarms), "folder"))
    if not found.new_files:
        return TickResult(None, _counted(found, now), looked)
    files = [file.path for file in found.new_files]
    job = prepare_import(settings, root, "incremental", actor=SENSOR, files=files)
    if found.more:
        looked = replace(looked, looked_at=None)  # as soon as this job is done
    return TickResult(
        Start(job.id, 1, job.created_at),
        f"Import job {job.id}: {len(files):,} new files. {_counted(found, now)}",
        looked,
    )


_READABLE_AGAIN = "The watched directory can be read again."
_GOES_ON = "The sensor looks again at each of its ticks, and goes on by itself."


def _stopped(own: list[OwnJob]) -> tuple[StoppedJob, ...]:
    return tuple(
        StoppedJob(
            key=f"dicom-job-{job.id}-{_stamp(job.created_at)}-{job.error_reason}",
            id=job.id,
            reason=job.error_reason,
            message=str(job.error_message),
            files=job.files_processed,
            marked=job.error_reason == MISSING,
            others_go_on=job.error_reason in NOT_TAKEN,
            retries=MOST_ATTEMPTS - 1,
            run_id=job.run_id,
        )
        for job in (each.job for each in own)
        if job.status == "failed" and job.error_reason
    )


def _alarm(settings: Settings, connection: Connection, watermark: SensorCursor, sentences: str) -> TickResult:
    """Return a failed tick for a directory that cannot be read. Its beginning is logged and audited once.

    The audit trail records the beginning, because Dagster does not keep the cursor of a failed tick.
    """
    begun = _begun_alarm(connection)
    if begun is None:
        _log.error("The watched directory cannot be read. %s", sentences)
        _record_watch(settings, "failed", sentences)
        begun = _begun_alarm(connection)
    error = DicomError(f"Alarm: {sentences}", remedy=_GOES_ON)
    return TickResult(None, sentences, watermark, error=error, error_key=f"dicom-watch-{begun}")


def _end_alarm(settings: Settings, connection: Connection) -> None:
    """Record that the directory can be read again, if an alarm is active."""
    if _begun_alarm(connection) is not None:
        _log.info(_READABLE_AGAIN)
        _record_watch(settings, "done", _READABLE_AGAIN)


def _begun_alarm(connection: Connection) -> str | None:
    """Return id and time of the audit row with which the active alarm began; None if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, outcome, at FROM fm_pipeline.audit WHERE action = 'dicom_watch' ORDER BY id DESC LIMIT 1"
        )
        last = cursor.fetchone()
    connection.commit()
    return f"{last[0]}-{_stamp(last[2])}" if last and last[1] == "failed" else None


def _stamp(at: datetime) -> str:
    """Return a time for a key: ids alone are used again after the database was restored from a backup."""
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S")


def _record_watch(settings: Settings, outcome: AuditOutcome, detail: str) -> None:
    url = settings.nexus_database_url.get_secret_value()
    record(url, actor=SENSOR, action="dicom_watch", outcome=outcome, detail=detail)


def _counted(found: PollResult, now: datetime) -> str:
    parts = [f"{counted(found.directories_asked, 'folder')} asked, {found.directories_listed:,} listed."]
    if not found.new_files:
        parts.insert(0, "Nothing new.")
    if found.waiting:
        parts.append(f"{counted(found.waiting, 'file')} still within the quiet period.")
    if found.cancelled:
        parts.append(
            f"{counted(found.cancelled, 'file')} of jobs that somebody has cancelled: left alone until somebody goes on"
            " with them; fm-pipeline dicom jobs --status cancelled"
        )
    times = ShareTimes(found.oldest_listing, found.unmoved_since, found.clock_behind_seconds)
    parts += times.sentences(now)
    if found.excluded:
        parts.append(f"{counted(found.excluded, 'folder')} left out by name (recycle bins, snapshots).")
    if found.alarms:
        parts.append(f"{counted(len(found.alarms), 'folder')} cannot be read.")
    return " ".join(parts)


def _jobs(connection: Connection, attempts_of: Callable[[Job], int], now: datetime) -> tuple[list[int], list[OwnJob]]:
    """Return the jobs that a live process runs, and the sensor's own unfinished jobs, oldest first."""
    with connection.cursor() as cursor:
        at_work = running_job_ids(cursor)
        cursor.execute(
            "SELECT id FROM fm_pipeline.import_jobs"
            " WHERE requested_by = %s AND status IN ('pending', 'running', 'failed')"
            " AND (status <> 'failed' OR completed_at > %s) ORDER BY id LIMIT %s",
            (SENSOR, now - OWN_JOBS_LAST, OWN_JOBS_LOOKED_AT),
        )
        own = [read_job(cursor, job_id) for (job_id,) in cursor.fetchall() if job_id not in at_work]
    return sorted(at_work), [OwnJob(job, attempts_of(job)) for job in own]


def _give_up(database_url: str, own: list[OwnJob]) -> None:
    """Cancel jobs whose process was lost at every attempt, because they would reserve their files for ever."""
    for each in own:
        if each.given_up and each.job.status != "failed":
            request_cancel(database_url, each.job.id, by_person=False)
            _log.error("Import job %d was given up after %d attempts.", each.job.id, each.attempts)


def _migrate_if_needed(connection: Connection, database_url: str) -> None:
    """Call Alembic only if a migration is missing, because it takes longer than the rest of a tick."""
    migrated = is_migrated(connection)
    connection.commit()
    if not migrated:
        migrate(database_url)
