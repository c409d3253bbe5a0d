"""A bench for import tests: its own database and Orthanc, and a folder to import."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.choices import JobType
from fm_pipeline.dicom.history.history import HistoryRow, list_history
from fm_pipeline.dicom.history.jobs import Job, create_job, get_job
from fm_pipeline.dicom.importer.run_job import ImportOptions, run_job
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.paths import real_path
from fm_pipeline.settings import Settings


@dataclass(frozen=True)
class ImportBench:
    """A folder, a database, and the address of Orthanc or of a proxy before it."""

    settings: Settings
    folder: Path

    @property
    def url(self) -> str:
        """The URL of the database."""
        return self.settings.nexus_database_url.get_secret_value()

    def put(self, name: str, content: bytes) -> Path:
        """Write a file into the folder, and return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def new_job(self, job_type: JobType = "initial", folder: Path | None = None, **more: Any) -> int:
        """Create a pending job for the folder, and return its id."""
        return create_job(self.url, str(folder or self.folder), job_type, requested_by="test", **more).id

    def run(self, job_id: int, **options: Any) -> Job:
        """Run a job."""
        return run_job(self.settings, job_id, options=ImportOptions(**options))

    def imported(self, job_type: JobType = "initial", folder: Path | None = None, **options: Any) -> Job:
        """Create a job and run it."""
        return self.run(self.new_job(job_type, folder), **options)

    def job(self, job_id: int) -> Job:
        """Return the current row of a job."""
        return get_job(self.url, job_id)

    def rows(self, job_id: int) -> dict[str, HistoryRow]:
        """Return the whole history of a job, by path."""
        rows = list_history(self.url, job_id=job_id, limit=1000).history
        assert len(rows) == self.job(job_id).files_processed
        return {real_path(row.file_path): row for row in rows}

    def outcomes(self, job_id: int) -> dict[str, int]:
        """Count the outcomes in history, and check that they equal those of the job."""
        counted = Counter(row.status for row in self.rows(job_id).values())
        assert counted == {name: count for name, count in self.job(job_id).outcomes.items() if count}
        return dict(counted)

    def orthanc(self) -> Orthanc:
        """Return a client of Orthanc."""
        return Orthanc.from_settings(self.settings)

    def instances(self) -> int:
        """Return the number of instances that Orthanc holds."""
        with self.orthanc() as orthanc:
            return int(orthanc.statistics()["CountInstances"])

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute and commit a statement on the database, and return its rows."""
        with connect(self.url) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return rows


def import_settings(database_url: str, orthanc: dict[str, str], state_dir: Path, **more: Any) -> Settings:
    """Return settings for a database and an Orthanc. Nothing answers at the address of FileMaker."""
    values: dict[str, Any] = {
        "nexus_database_url": database_url,
        "filemaker_url": "http://127.0.0.1:1",
        "filemaker_database": "clinic",
        "filemaker_username": "pipeline",
        "filemaker_password": "unused",
        "state_dir": state_dir,
    }
    values |= {name.lower(): value for name, value in orthanc.items()}
    return Settings(**{"_env_file": None} | values | more)
