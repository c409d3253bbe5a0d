"""Who may enter the folders that we make, and what becomes of files that are written again."""

from __future__ import annotations

from pathlib import Path

import pytest

from fm_pipeline.folders import make_private_folder, whole_file
from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_folders_that_are_made_on_the_way_are_private_too_and_existing_ones_stay_as_they_are(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    folder = shared / "state" / "reports" / "one"
    make_private_folder(folder)
    make_private_folder(folder)
    assert mode(shared) == 0o755
    assert [mode(path) for path in (folder, folder.parent, folder.parent.parent)] == [0o700] * 3


@pytest.mark.usefixtures("staged_once")
def test_the_state_folder_is_private_also_when_a_backup_is_the_first_to_need_it(bench: MigrationBench) -> None:
    make_backup(bench.settings, now=RUN_TIME)
    assert mode(bench.settings.state_dir) == 0o700


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    with whole_file(path) as file:
        file.write("first")
    (tmp_path / "list.csv.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"), whole_file(path) as file:
        file.write("second")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"list.csv": "first"}
    assert mode(path) == 0o600
