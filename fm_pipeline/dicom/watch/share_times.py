"""What is known of a watched directory, in sentences: for the sensor's page and for `dicom status`. No path in them."""

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
    """How much the times of a share are worth.

    Attributes:
        oldest_listing: every directory was listed since then; None if one never was.
        unmoved_since: since when it is known that a folder keeps its time when a file comes into it.
        clock_behind_seconds: of the share's clock, at most.
    """

    oldest_listing: datetime | None
    unmoved_since: datetime | None
    clock_behind_seconds: float

    def sentences(self, now: datetime) -> list[str]:
        """Those that are worth to be told."""
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
    """What the sensor has seen of a directory so far; nothing if it never looked.

    Args:
        root: as it is configured.
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
