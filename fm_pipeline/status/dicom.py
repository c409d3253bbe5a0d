"""What the DICOM page shows besides jobs and history: the watched directories, and imported instances over time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.history.summary import modality_name
from fm_pipeline.dicom.reasons import sentence
from fm_pipeline.dicom.watch.share_times import describe_watching

DAYS = 30


@dataclass(frozen=True)
class WatchedRootState:
    """A directory that the sensor watches.

    Attributes:
        directory: as `paths.printable` writes it.
        alarm: a sentence while the watching is paused.
        ticked_at: when the sensor looked last.
        unsettled: directories that are still to be listed.
        sentences: what the share does with times, as far as it was seen.
    """

    directory: str
    alarm: str
    alarm_since: datetime | None
    ticked_at: datetime | None
    round_completed_at: datetime | None
    directories: int
    unsettled: int
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class WatchEvent:
    """A row of the audit trail about watching: an alarm, or its end."""

    at: datetime
    outcome: str
    detail: str


@dataclass(frozen=True)
class ImportedCounts:
    """Instances that were imported in the last days.

    Attributes:
        by_day: all days, the oldest first.
        by_modality: the most frequent first.
    """

    by_day: dict[date, int]
    by_modality: dict[str, int]


def read_watched_roots(database_url: str, zone: ZoneInfo) -> list[WatchedRootState]:
    """Return the directories that the sensor has looked at. A command that scans remembers others in the same table."""
    now = datetime.now(UTC)
    with connect(database_url) as connection:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT r.directory, r.alarm, r.alarm_since, r.ticked_at, r.round_completed_at, count(d.path_hash),"
                " count(d.path_hash) FILTER (WHERE d.settled_ns IS NULL) FROM fm_pipeline.watched_roots r"
                " LEFT JOIN fm_pipeline.watched_directories d ON d.root_id = r.id"
                " WHERE r.ticked_at IS NOT NULL OR r.alarm IS NOT NULL GROUP BY r.id ORDER BY r.directory"
            )
            rows = cursor.fetchall()
        return [
            WatchedRootState(
                directory,
                sentence(alarm) if alarm else "",
                since,
                ticked_at,
                round_completed_at,
                directories,
                unsettled,
                tuple(describe_watching(connection, directory, now=now, zone=zone)),
            )
            for directory, alarm, since, ticked_at, round_completed_at, directories, unsettled in rows
        ]


def read_watch_events(database_url: str) -> list[WatchEvent]:
    """Return the last alarms and their ends, newest first."""
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT at, outcome, detail FROM fm_pipeline.audit WHERE action = 'dicom_watch' ORDER BY id DESC LIMIT 10"
        )
        return [WatchEvent(*row) for row in cursor.fetchall()]


def count_imported(database_url: str, zone: ZoneInfo) -> ImportedCounts:
    """Count the instances that were imported in the last days, by day and modality."""
    today = datetime.now(zone).date()
    by_day = {today - timedelta(days=back): 0 for back in reversed(range(DAYS))}
    modalities: Counter[str] = Counter()
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            # By the jobs of these days first, for which there is an index.
            "SELECT (h.imported_at AT TIME ZONE %(zone)s)::date AS day, h.modality, count(*)"
            " FROM fm_pipeline.import_jobs j JOIN fm_pipeline.import_history h ON h.job_id = j.id"
            " WHERE j.updated_at > now() - make_interval(days => %(days)s) AND h.status = 'imported'"
            " AND h.removed_at IS NULL GROUP BY 1, 2",
            {"zone": zone.key, "days": DAYS},
        )
        for day, modality, count in cursor.fetchall():
            if day in by_day:
                by_day[day] += count
                modalities[modality_name(modality)] += count
    return ImportedCounts(by_day, dict(modalities.most_common()))
