"""Recycle bins, snapshots and folders of a system are left out by name, counted, and named."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.reconnecting_connection import ReconnectingConnection
from fm_pipeline.dicom.configuration.roots import allowed_path
from fm_pipeline.dicom.model import FoundFile, SetAside
from fm_pipeline.dicom.scan.excluded_folders import KNOWN, ExcludedFolders
from fm_pipeline.dicom.scan.listed_files import listed_files
from fm_pipeline.dicom.scan.walk import scan
from fm_pipeline.dicom.watch.new_files import NewFiles
from fm_pipeline.dicom.watch.poll import poll
from fm_pipeline.errors import RequestError, SettingsError
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.settings import load_settings
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.dicom.watch.watching import last_change, record

# As the systems spell them. Windows shows one recycle bin in three ways.
SYSTEMS = {
    "Windows": ["$RECYCLE.BIN", "$Recycle.Bin", "RECYCLER", "Recycled", "System Volume Information", "FOUND.000"],
    "shadow copies": ["@GMT-2025.01.31-10.20.30", "Previous Versions"],
    "macOS": [".Trash", ".Trashes", ".DocumentRevisions-V100", ".fseventsd", ".Spotlight-V100", ".TemporaryItems"],
    "file servers for macOS": [".AppleDouble", ".AppleDB", "Network Trash Folder"],
    "Linux": [".Trash-1000", ".Trash-anna", "lost+found", ".zfs", ".snapshots", ".snap"],
    "Synology": ["#recycle", "#snapshot", "@eaDir", "@tmp"],
    "QNAP": ["@Recycle", "@Recently-Snapshot", ".@__thumb", "Network Recycle Bin 1"],
    "Unraid": [".Recycle.Bin"],
    "NetApp": [".snapshot", "~snapshot"],
    "Samba": [".recycle"],
    "sync tools": ["files_trashbin", "files_versions", ".stversions", ".dropbox.cache", ".~tmp~"],
}
# A patient, a project or a device may be called so.
OTHERS = [
    "recycle",
    "Recycle",
    "snapshot",
    "snapshots",
    "Trash",
    "@GMT",
    "RECYCLED-2",
    "lost",
    "Found.01",
    "found",
    "zfs",
]


@pytest.mark.parametrize("system", SYSTEMS)
def test_folders_of_deleted_files_and_snapshots_are_known_by_the_names_that_systems_give_them(system: str) -> None:
    assert [name for name in SYSTEMS[system] if not KNOWN.has(name)] == []


def test_a_folder_with_a_name_that_only_resembles_them_is_not_left_out() -> None:
    assert [name for name in OTHERS if KNOWN.has(name)] == []


def test_the_setting_adds_names_and_patterns_as_they_are_spelled() -> None:
    excluded = ExcludedFolders("old:daily.*:test?:a+b")
    assert all(map(excluded.has, ("old", "daily.0", "test1", "a+b", "#recycle")))
    assert not any(map(excluded.has, ("Old", "older", "daily", "test", "test12", "aab")))


@pytest.mark.parametrize("names", ["*", "old:/mnt/x", "..", "a:**"])
def test_a_setting_that_names_paths_or_everything_is_refused(names: str) -> None:
    with pytest.raises(SettingsError, match="DICOM_EXCLUDED_FOLDERS"):
        load_settings(nexus_database_url="postgresql://nobody@127.0.0.1/nowhere", dicom_excluded_folders=names)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of a hospital with what file servers keep beside the files."""
    root = tmp_path / "hospital"
    for path in (
        "2025/IM1",
        "2025/#recycle/IM2",
        "$RECYCLE.BIN/S-1-5-21-1/$RABC123.dcm",
        "home/.local/share/Trash/files/IM4",
        "old/IM5",
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"content")
    return root


FOLDERS = ["$RECYCLE.BIN", "2025/#recycle", "home/.local/share/Trash", "old"]


def test_a_scan_names_each_such_folder_once_and_meets_nothing_below_it(root: Path) -> None:
    met = list(scan(str(root), ExcludedFolders("old")))
    assert sorted(os.path.relpath(each.path, root) for each in met if isinstance(each, SetAside)) == FOLDERS
    assert {each.reason for each in met if isinstance(each, SetAside)} == {"excluded_folder"}
    assert [os.path.relpath(each.path, root) for each in met if isinstance(each, FoundFile)] == ["2025/IM1"]


def test_a_look_for_new_files_names_them_once_and_knows_them_then(
    connection: Connection, database: ReconnectingConnection, root: Path
) -> None:
    excluded = ExcludedFolders("old")
    first = list(NewFiles(database, str(root), now=datetime.now(UTC), excluded=excluded))
    assert sorted(os.path.relpath(each.path, root) for each in first if isinstance(each, SetAside)) == FOLDERS
    record(connection, first)
    again = NewFiles(database, str(root), now=datetime.now(UTC), excluded=excluded)
    assert list(again) == []
    assert (again.unchanged_files, again.unchanged_others) == (1, 4)


def test_the_sensor_never_lists_them_and_forgets_those_that_it_watched_before(
    connection: Connection, root: Path
) -> None:
    now = last_change(root) + timedelta(minutes=2)
    found = poll(connection, str(root), now=now, quiet_seconds=30)
    assert {os.path.relpath(file.path, root) for file in found.new_files} == {"2025/IM1", "old/IM5"}
    assert found.excluded == 3
    found = poll(
        connection, str(root), now=now + timedelta(minutes=1), quiet_seconds=30, excluded=ExcludedFolders("old")
    )
    assert {os.path.relpath(file.path, root) for file in found.new_files} == {"2025/IM1"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM fm_pipeline.watched_directories WHERE directory LIKE '%%/old'")
        assert cursor.fetchone() == (0,)


def test_a_job_that_lists_a_file_in_one_passes_it_over(root: Path) -> None:
    path = str(root / "2025/#recycle/IM2")
    assert list(listed_files(str(root), [path])) == [SetAside(path, "excluded_folder")]


def test_such_a_folder_is_imported_only_if_it_is_an_allowed_root_itself(root: Path, tmp_path: Path) -> None:
    folder = root / "2025" / "#recycle"
    settings = import_settings("postgresql://nobody@127.0.0.1/x", {}, tmp_path, dicom_allowed_roots=str(root))
    with pytest.raises(RequestError, match="left out by name"):
        allowed_path(settings, str(folder))
    both = settings.model_copy(update={"dicom_allowed_roots": f"{root}:{folder}"})
    assert allowed_path(both, str(folder)) == str(folder)
    assert allowed_path(both, str(root / "2025")) == str(root / "2025")


def test_what_was_deleted_does_not_come_into_orthanc_and_the_job_says_what_it_left_out(importing: ImportBench) -> None:
    live = as_file(image("live"))
    for name, content in {
        "2025/IM1": live,
        "#recycle/2025/IM7": as_file(image("deleted 1")),
        ".snapshot/hourly.0/2025/IM1": live,
        ".snapshot/hourly.0/2025/IM2": as_file(image("deleted 2")),
        ".stversions/IM4~20250101-101010": as_file(image("replaced")),
    }.items():
        path = importing.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    job = importing.imported()
    assert importing.outcomes(job.id) == {"imported": 1, "skipped": 3}
    left_out = {os.path.relpath(path, importing.folder): row.reason for path, row in importing.rows(job.id).items()}
    assert left_out == {
        "2025/IM1": None,
        "#recycle": "excluded_folder",
        ".snapshot": "excluded_folder",
        ".stversions": "excluded_folder",
    }
    assert importing.instances() == 1
    shutil.rmtree(importing.folder / ".snapshot")
    assert importing.imported("incremental").files_unchanged == 3
