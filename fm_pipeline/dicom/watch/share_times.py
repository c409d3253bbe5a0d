"""Describe a watched directory in sentences without paths, for the sensor's page and for `dicom status`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo

from psycopg2.extensions import connection as Connection

from fm_pipeline.dicom.formats import duration_formatted, time_formatted
from fm_pipeline.dicom.reasons import sentence
from fm_pipeline.dicom.watch import watched_directories
from fm_pipeline.dicom.watch.rules import MUCH_BEHIND_SECONDS


@dataclass(frozen=True)
class ShareTimes:
    """How reliable the times of a share are.

    Attributes:
        oldest_listing: every directory was listed since then; None if one was never listed.
        unmoved_since: since when folders are known to keep their mtime when a file is added.
        clock_behind_seconds: how far the share's clock is behind ours, at most.
    """

    oldest_listing: datetime | None
    unmoved_since: datetime | None
    clock_behind_seconds: float

    def sentences(self, now: datetime) -> list[str]:
        """Return the sentences that matter to people."""
        said = []
        if self.oldest_listing:
            age = duration_formatted(max((now - self.oldest_listing).total_seconds(), 0))
            said.append(f"Every folder was listed within the last {age}.")
        if self.unmoved_since:
            said.append(
                "On this share the time of a folder stays as it is when a file comes into it (since"
                f" {self.unmoved_since:%Y-%m-%d}): new files are found when their folder is listed again, every five"
                " minutes if the share is fast enough."
            )
        if self.clock_behind_seconds > MUCH_BEHIND_SECONDS:
            said.append(
                f"The clock of this share is up to {duration_formatted(self.clock_behind_seconds)} behind the one of"
                " this machine, so a file that is still being written seems to be complete: set that clock (NTP)."
            )
        return said


def describe_watching(connection: Connection, root: str, *, now: datetime, zone: tzinfo) -> list[str]:
    """Describe what the sensor has found out about a directory; nothing before its first tick.

    Args:
        root: as configured.
    """
    with connection.cursor() as cursor:
        found = watched_directories.find_root(cursor, root, lock=False)
        oldest = watched_directories.oldest_listing(cursor, found.id) if found else None
    if found is None or found.ticked_at is None:
        return []
    said = [f"The sensor looked at the watched directory at {time_formatted(found.ticked_at, zone)}."]
    if found.alarm:
        return [*said, f"Alarm: {sentence(found.alarm)}"]
    return said + ShareTimes(oldest, found.unmoved_since, found.clock_behind_seconds).sentences(now)
