"""What is due and did not come: a plan, a DICOM import, a DICOM file (EXPECT_PLAN_HOURS and the settings beside it)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

# By name: what it is called, and when it came last.
_LAST = {
    "plan": (
        "plan or reimport",
        "SELECT greatest((SELECT max(created_at) FROM fm_pipeline.plans),"
        " (SELECT max(started_at) FROM fm_pipeline.reimports))",
    ),
    "dicom": ("DICOM import", "SELECT max(completed_at) FROM fm_pipeline.import_jobs WHERE status = 'completed'"),
    "dicom_file": (
        "new DICOM file",
        "SELECT imported_at FROM fm_pipeline.import_history WHERE status = 'imported' ORDER BY id DESC LIMIT 1",
    ),
}


@dataclass(frozen=True)
class Expectation:
    """Something that is due every so many hours.

    Attributes:
        name: plan, dicom or dicom_file.
        what: the same in words.
        last_at: when it came last, with a zone; None: never.
    """

    name: str
    what: str
    hours: int
    last_at: datetime | None

    def is_overdue(self, now: datetime) -> bool:
        """Whether it did not come in time; what never came is overdue."""
        return self.last_at is None or now - self.last_at > timedelta(hours=self.hours)

    @property
    def occurrence(self) -> str:
        """The last time that it came, as a part of a name: two misses after the same time are one."""
        return f"{self.last_at.astimezone(UTC):%Y%m%dT%H%M%S}" if self.last_at else "never"

    def sentence(self, zone: str) -> str:
        """Say since when it is missed.

        Args:
            zone: of the clinic.
        """
        expected = f"one is expected every {counted(self.hours, 'hour')}."
        if self.last_at is None:
            return f"There was no {self.what} yet; {expected}"
        last = self.last_at.astimezone(ZoneInfo(zone))
        return f"There was no {self.what} since {last:%Y-%m-%d %H:%M}; {expected}"


def read_expectations(settings: Settings) -> list[Expectation]:
    """Return what the settings expect; nothing is asked if they expect nothing.

    Raises:
        DatabaseError: the database does not answer.
    """
    wanted = dict(_wanted(settings))
    if not wanted:
        return []
    found = []
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        migrated = has_table(cursor, "fm_pipeline.import_history")
        for name, hours in wanted.items():
            what, query = _LAST[name]
            last_at = None
            if migrated:
                cursor.execute(query)
                row = cursor.fetchone()
                last_at = row[0] if row else None
            found.append(Expectation(name, what, hours, last_at))
    return found


def _wanted(settings: Settings) -> Iterator[tuple[str, int]]:
    for name in _LAST:
        if hours := getattr(settings, f"expect_{name}_hours"):
            yield name, hours
