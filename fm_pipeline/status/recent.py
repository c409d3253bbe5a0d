"""What was done since a day, as numbers: for somebody who asks in the morning whether the night went well."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.settings import load_clinic_time_zone
from fm_pipeline.status.history import HistoryFilter, count_attempts

BAD_OUTCOMES = ("failed", "refused")


@dataclass(frozen=True)
class Ends:
    """How runs of one kind ended.

    Attributes:
        kind: of the history, or `DICOM import`.
        outcomes: number of runs by outcome.
        not_imported: of DICOM imports, the files whose bytes should be in Orthanc and are not.
    """

    kind: str
    outcomes: dict[str, int]
    not_imported: int = 0

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look."""
        return bool(self.not_imported or any(self.outcomes.get(outcome) for outcome in BAD_OUTCOMES))


_IMPORTS = """
SELECT CASE status WHEN 'completed' THEN 'done' ELSE status END, count(*),
       sum(files_conflict + files_bad + files_failed + files_suspect)::bigint
FROM fm_pipeline.import_jobs WHERE created_at >= %s::date GROUP BY 1 ORDER BY 1
"""


def read_recent(database_url: str, since: date) -> list[Ends]:
    """Return how the runs since the beginning of a day ended, one entry for each kind of which there was one.

    Args:
        since: a day in the clinic's zone.
    """
    outcomes: dict[str, dict[str, int]] = defaultdict(dict)
    for each in count_attempts(database_url, HistoryFilter(since=since.isoformat())):
        kind = each["kind"].replace("_", " ") + (" (dry run)" if each["dry_run"] else "")
        outcomes[kind][each["outcome"]] = each["count"]
    found = [Ends(kind, ends) for kind, ends in outcomes.items()]
    with connect(database_url) as connection, connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.import_jobs"):
            return found
        cursor.execute("SELECT set_config('TimeZone', %s, false)", (load_clinic_time_zone(),))
        cursor.execute(_IMPORTS, (since,))
        jobs = cursor.fetchall()
    if jobs:
        found.append(Ends("DICOM import", {status: count for status, count, _ in jobs}, sum(row[2] for row in jobs)))
    return found
