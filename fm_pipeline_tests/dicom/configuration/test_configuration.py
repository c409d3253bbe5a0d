"""The configuration that the administrator changes while everything runs."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.configuration.configuration import SyncConfiguration, configure, mark_synced, read_configuration
from fm_pipeline.dicom.watch.poll import PollResult, poll
from fm_pipeline.errors import RequestError
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.dicom import dicom_settings
from fm_pipeline_tests.support.waiting import InThread, wait_until

NOW = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


@pytest.fixture
def settings(migrated_url: str, tmp_path: Path) -> Settings:
    (tmp_path / "hospital").mkdir()
    return dicom_settings(migrated_url, tmp_path)


def read(settings: Settings) -> SyncConfiguration:
    with connect(settings.nexus_database_url.get_secret_value()) as connection:
        return read_configuration(connection, settings)


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_before_anybody_has_written_it_the_environment_holds_and_everything_is_off(settings: Settings) -> None:
    found = read(settings)
    assert found.hospital_data_path == str(settings.hospital_data_path)
    assert (found.monitoring_enabled, found.sync_enabled, found.ftp_enabled) == (False, False, False)
    assert found.updated_at is None
    assert read(settings.model_copy(update={"monitoring_enabled": True})).monitoring_enabled


def test_a_change_keeps_everything_else_and_says_who_made_it(settings: Settings) -> None:
    configure(settings, {"monitoring_enabled": True, "monitoring_interval": 120}, actor="anna", now=NOW)
    after = configure(settings, {"quiet_period": 5}, actor="ben", now=NOW)
    assert (after.monitoring_enabled, after.monitoring_interval, after.quiet_period) == (True, 120, 5)
    assert read(settings) == after
    assert (after.updated_at, after.updated_by) == (NOW, "ben")
    audit = rows(settings, "SELECT actor, outcome FROM fm_pipeline.audit WHERE action = 'dicom_configure' ORDER BY id")
    assert audit == [("anna", "started"), ("anna", "done"), ("ben", "started"), ("ben", "done")]


def test_there_is_one_row_however_often_it_is_written(settings: Settings) -> None:
    for seconds in (10, 20, 30):
        configure(settings, {"monitoring_interval": seconds}, actor="anna", now=NOW)
    with connect(settings.nexus_database_url.get_secret_value()) as connection:
        mark_synced(connection, settings, NOW)
        connection.commit()
    assert rows(settings, "SELECT id, monitoring_interval, last_sync_at FROM fm_pipeline.sync_configuration") == [
        (1, 30, NOW)
    ]


def test_a_scheduled_import_that_starts_during_a_change_keeps_the_change(settings: Settings) -> None:
    configure(settings, {"monitoring_enabled": True}, actor="anna", now=NOW)

    def start() -> None:
        with connect(settings.nexus_database_url.get_secret_value()) as connection:
            mark_synced(connection, settings, NOW)
            connection.commit()

    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "LOCK TABLE fm_pipeline.sync_configuration IN SHARE ROW EXCLUSIVE MODE;"
            "UPDATE fm_pipeline.sync_configuration SET monitoring_enabled = false"
        )
        starting = InThread(start)
        wait_until(lambda: rows(settings, "SELECT FROM pg_locks WHERE NOT granted") != [])
        connection.commit()
    starting.outcome()
    assert (read(settings).monitoring_enabled, read(settings).last_sync_at) == (False, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"monitoring_interval": 1},
        {"ftp_port": 70_000},
        {"ftp_security": "perhaps"},
        {"ftp_folder": "../elsewhere"},
        {"ftp_folder": "/etc"},
        {"ftp_path": "export"},
        {"ftp_path": "/a\r\nDELE b"},
        {"ftp_enabled": True},
        {"hospital_data_path": None, "monitoring_enabled": True},
        {"ftp_password": "secret"},
        {"updated_by": "somebody else"},
    ],
    ids=", ".join,
)
def test_a_wrong_value_is_refused_and_nothing_changes(settings: Settings, changes: dict[str, Any]) -> None:
    before = read(settings)
    with pytest.raises(RequestError) as told:
        configure(settings, changes, actor="anna", now=NOW)
    assert told.value.code == 400
    assert "secret" not in str(told.value)
    assert read(settings) == before
    assert rows(settings, "SELECT outcome FROM fm_pipeline.audit ORDER BY id") == [("started",), ("refused",)]


@pytest.mark.parametrize("asked", ["relative", "..", "outside", "link", "other case"])
@pytest.mark.hard_case(47)
def test_a_path_outside_the_allowed_roots_is_not_configured(settings: Settings, tmp_path: Path, asked: str) -> None:
    hospital, outside = tmp_path / "hospital", tmp_path / "outside"
    outside.mkdir()
    (hospital / "link").symlink_to(outside)
    path = {
        "relative": "hospital",
        "..": f"{hospital}/../outside",
        "outside": str(outside),
        "link": f"{hospital}/link",
        "other case": str(hospital).replace("hospital", "Hospital"),
    }[asked]
    with pytest.raises(RequestError) as told:
        configure(settings, {"hospital_data_path": path}, actor="anna", now=NOW)
    assert told.value.code == 400
    assert str(tmp_path) not in str(told.value)
    assert rows(settings, "SELECT * FROM fm_pipeline.sync_configuration") == []
    assert rows(settings, "SELECT actor, outcome FROM fm_pipeline.audit ORDER BY id DESC LIMIT 1") == [
        ("anna", "refused")
    ]


def test_several_roots_are_allowed_by_the_environment_alone(settings: Settings, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    roots = os.pathsep.join(str(tmp_path / name) for name in ("one", "two"))
    given = settings.model_copy(update={"dicom_allowed_roots": roots})
    assert configure(given, {"hospital_data_path": str(tmp_path / "two")}, actor="anna", now=NOW).hospital_data_path
    with pytest.raises(RequestError, match="not inside an allowed root"):
        configure(given, {"hospital_data_path": str(tmp_path / "hospital")}, actor="anna", now=NOW)
    nobody = settings.model_copy(update={"hospital_data_path": None})
    with pytest.raises(RequestError, match="No folder of DICOM files is allowed yet"):
        configure(nobody, {"hospital_data_path": str(tmp_path / "one")}, actor="anna", now=NOW)


def test_only_to_name_the_directory_again_accepts_that_it_and_folders_in_it_are_mounted_otherwise_now(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(settings.hospital_data_path)
    (Path(root) / "share").mkdir()
    (Path(root) / "share" / "1.dcm").write_bytes(b"content")

    def look(minute: int) -> PollResult:
        with connect(settings.nexus_database_url.get_secret_value()) as connection:
            now = datetime.now(UTC) + timedelta(days=1, minutes=minute)
            return poll(connection, root, now=now, quiet_seconds=0)

    configure(settings, {"hospital_data_path": root}, actor="anna", now=NOW)
    monkeypatch.setattr(os.path, "ismount", lambda path: path in ("/", root, f"{root}/share"))
    assert look(0).paused is None
    configure(settings, {"hospital_data_path": root}, actor="anna", now=NOW)
    mounted = "SELECT directory FROM fm_pipeline.watched_directories WHERE is_mount ORDER BY 1"
    assert [directory for (directory,) in rows(settings, mounted)] == [root, f"{root}/share"]
    monkeypatch.undo()
    # As the form of the console does, which sends every field.
    configure(settings, {"hospital_data_path": root, "monitoring_interval": 20}, actor="anna", now=NOW)
    assert look(1).paused == "not_mounted"
    configure(settings, {"hospital_data_path": root}, actor="anna", now=NOW)
    after = look(2)
    assert (after.paused, after.alarms, len(after.new_files)) == (None, [], 1)
