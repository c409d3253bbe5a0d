"""Numbers for a monitoring system: times, counts and states; no patient data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import has_table
from fm_pipeline.nexus.undoing_restores import read_restores


@dataclass(frozen=True)
class Measurements:
    """What the pipeline has done.

    Attributes:
        last_reimport, last_plan, last_backup: when it was made; None if there is none. A reimport that a restore has
            undone does not count.
        last_reimport_rows: rows of Nexus that this reimport changed.
        dicom_jobs: import jobs by status.
        quarantined: source rows that were kept out when they were last staged, by entity.
    """

    last_reimport: datetime | None = None
    last_reimport_rows: int = 0
    last_plan: datetime | None = None
    last_backup: datetime | None = None
    dicom_jobs: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)


_TIMES = """
SELECT (SELECT max(created_at) FROM fm_pipeline.plans), (SELECT max(created_at) FROM fm_pipeline.backups)
"""
_REIMPORTS = "SELECT started_at, backup_id::text, id FROM fm_pipeline.reimports ORDER BY started_at DESC"
_ROWS = "SELECT (report ->> 'changed_rows')::bigint FROM fm_pipeline.reimports WHERE id = %s"


def read_measurements(database_url: str) -> Measurements:
    """Return the numbers; all empty if the pipeline never ran. Nothing is migrated or written.

    Raises:
        DatabaseError: the database does not answer.
    """
    with connect(database_url) as connection, connection.cursor() as cursor:
        # The newest of these tables: if it does not exist, there is nothing to count.
        if not has_table(cursor, "fm_pipeline.staged_builds"):
            return Measurements()
        cursor.execute(_TIMES)
        plan, backup = cursor.fetchone() or (None, None)
        restores = read_restores(connection)
        cursor.execute(_REIMPORTS)
        reimport, _, own_id = next((each for each in cursor if not restores.undone_by(*each[:2])), (None, None, None))
        cursor.execute(_ROWS, (own_id,))
        (rows,) = cursor.fetchone() or (0,)
        cursor.execute("SELECT status, count(*) FROM fm_pipeline.import_jobs GROUP BY status")
        jobs = dict(cursor.fetchall())
        cursor.execute("SELECT entity, quarantined FROM fm_pipeline.staged_builds")
        return Measurements(reimport, rows or 0, plan, backup, jobs, dict(cursor.fetchall()))
