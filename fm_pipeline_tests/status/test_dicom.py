from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.history.jobs import create_job
from fm_pipeline.status.dicom import count_imported, read_watch_events, read_watched_roots

ZONE = ZoneInfo("Australia/Sydney")


@pytest.fixture
def database(database_url: str) -> str:
    migrate(database_url)
    return database_url


def execute(url: str, statement: str, *values: object) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        connection.commit()


def add_file(url: str, job_id: int, modality: str | None, status: str = "imported", removed: bool = False) -> None:
    execute(
        url,
        "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status, modality, removed_at)"
        " VALUES (%s, '/a', 'a', gen_random_uuid(), %s, %s, CASE WHEN %s THEN now() END)",
        *(job_id, status, modality, removed),
    )


def test_imported_instances_are_counted_by_day_and_modality(database: str) -> None:
    job_id = create_job(database, "/mnt/hospital", requested_by="test").id
    for modality in ("CT", "CT", "MR", None, "Müller^Anna"):
        add_file(database, job_id, modality)
    add_file(database, job_id, "CT", status="already_there")
    add_file(database, job_id, "CT", removed=True)
    counts = count_imported(database, ZONE)
    assert counts.by_modality == {"CT": 2, "MR": 1, "unknown": 1, "other": 1}
    assert list(counts.by_day.items())[-1] == (datetime.now(ZONE).date(), 5)
    assert len(counts.by_day) == 30


def test_watched_directories_are_shown_with_their_alarm(database: str) -> None:
    execute(
        database,
        "INSERT INTO fm_pipeline.watched_roots (path_hash, directory, mount_point, alarm, alarm_since)"
        " VALUES (gen_random_uuid(), '/mnt/hospital', '/mnt', 'root_unavailable', now())",
    )
    (root,) = read_watched_roots(database, ZONE)
    assert (root.directory, root.directories, root.ticked_at) == ("/mnt/hospital", 0, None)
    assert root.alarm
    assert read_watch_events(database) == []
