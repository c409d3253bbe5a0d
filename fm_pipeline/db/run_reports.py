"""The reports of runs, as pages show them: of restores, verified backups, exports, image links and imports.

The reports of plans and reimports are in their own tables.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Literal

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.db.table import Table
from fm_pipeline.errors import DatabaseError

_log = logging.getLogger(__name__)

RUN_REPORTS = Table("fm_pipeline", "run_reports")
RunReportAction = Literal["restore", "verify", "export", "image_link", "image_import"]


def add_run_report(
    cursor: Cursor,
    run_id: str,
    action: RunReportAction,
    report: Mapping[str, Any],
    *,
    dry_run: bool = False,
    subject: str | None = None,
) -> None:
    """Add a report in the transaction of what it tells, so that neither is there without the other.

    Args:
        report: for JSON: counts, ids and our own sentences; no patient data.
        subject: what it is about, for example the id of a backup.
    """
    cursor.execute(
        "INSERT INTO fm_pipeline.run_reports (run_id, action, dry_run, subject, report) VALUES (%s, %s, %s, %s, %s)",
        (run_id, action, dry_run, subject, json.dumps(report)),
    )


def store_run_report(
    database_url: str,
    run_id: str,
    action: RunReportAction,
    report: Mapping[str, Any],
    *,
    dry_run: bool = False,
    subject: str | None = None,
) -> None:
    """Add a report, committed at once; see `add_run_report`.

    A failure is only a warning: what is reported has been done.
    """
    try:
        with connect(database_url) as connection, connection.cursor() as cursor:
            add_run_report(cursor, run_id, action, report, dry_run=dry_run, subject=subject)
            connection.commit()
    except DatabaseError as error:
        _log.warning("The report of this %s could not be stored: %s", action.replace("_", " "), error)
