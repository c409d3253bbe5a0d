"""Writes the report of a reimport as files: JSON, Markdown, and a CSV of records that were not loaded.

The files are private to their owner. They hold counts, rule ids, FileMaker and Nexus ids; no names and no other data of
a patient.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

from fm_pipeline.db.connection import connect
from fm_pipeline.errors import PipelineError
from fm_pipeline.folders import make_private_folder
from fm_pipeline.nexus.reimport.report import ReimportReport
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS

_NOT_LOADED = """
SELECT entity, record_id, coalesce(filemaker_id, ''), outcome, rule FROM fm_pipeline.staged_outcomes
WHERE outcome <> 'ready' ORDER BY entity, outcome, rule, record_id
"""
GONE_PATIENTS_COLUMNS = ("table", "id", "former_patient_id", "patient_id")
NOT_LOADED_COLUMNS = ("entity", "record_id", "filemaker_id", "outcome", "rule")


def write_report(
    database_url: str, state_dir: Path, report: ReimportReport, *, warn: Callable[[str], None]
) -> Path | None:
    """Write `report.json`, `report.md` and `not_loaded.csv` into a folder of their own.

    If documents or batches lost a deleted patient, `files_of_gone_patients.csv` lists all of them.

    Args:
        database_url: the Nexus database, for the outcomes of the source rows.
        state_dir: this project's folder; the report goes to `reports/<time>-<id>`.
        warn: called if the files cannot be written. The reimport is already committed and must not look like a
            failure; its report is also in `fm_pipeline.reimports`.

    Returns:
        The folder, mode 0700; None if it is incomplete.
    """
    folder = state_dir / "reports" / f"{report.started_at:%Y%m%dT%H%M%S}-{report.id[:8]}"
    try:
        make_private_folder(folder)
        (folder / "report.json").write_text(json.dumps(report.as_dict(), indent=2) + "\n", "utf-8")
        (folder / "report.md").write_text(report.as_markdown() + "\n", "utf-8")
        with (
            connect(database_url) as connection,
            connection.cursor() as cursor,
            (folder / "not_loaded.csv").open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(NOT_LOADED_COLUMNS)
            cursor.execute(_NOT_LOADED)
            writer.writerows(cursor)
        _write_files_of_gone_patients(folder / "files_of_gone_patients.csv", report)
    except (OSError, PipelineError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        warn(f"The reimport is committed, but its report could not be written to {folder} ({reason}).")
        return None
    return folder


def _write_files_of_gone_patients(path: Path, report: ReimportReport) -> None:
    """Write every document and image batch that lost a deleted patient; no file if there is none."""
    rows = [
        (table, row_id, former, patient)
        for table, files in ((DOCUMENTS, report.documents), (BATCHES, report.batches))
        if files
        for settled, patient in ((files.archived, files.archive_patient or ""), (files.detached, ""))
        for row_id, former in settled.items()
    ]
    if rows:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([GONE_PATIENTS_COLUMNS, *rows])
