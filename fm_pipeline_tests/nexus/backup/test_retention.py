"""Old backups go; the newest that are there stay."""

from __future__ import annotations

import errno
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from fm_pipeline.nexus.backup.backup import backup_folder, list_backups, make_backup
from fm_pipeline.nexus.backup.files import BackupStop
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.nexus.backup.retention import prune_backups
from fm_pipeline.nexus.reimport.plan import check_backup
from fm_pipeline.nexus.reimport.plan_inputs import Inputs
from fm_pipeline.status.overview import read_overview
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench


def read_only(*_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def _names(bench: MigrationBench) -> list[str]:
    return sorted(path.name for path in backup_folder(bench.settings).glob("*"))


def test_pruning_leaves_the_newest_that_are_there_and_whatever_it_does_not_know(
    nexus: MigrationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make_backup(nexus.settings, now=RUN_TIME + timedelta(hours=hour)) for hour in range(4)]
    root = backup_folder(nexus.settings)
    (root / "a folder of somebody").mkdir()
    (root / f"{made[0].folder.name}.deleting").mkdir()  # a pruning that was killed
    assert prune_backups(nexus.settings, keep=3) == [made[0].folder]
    assert [known.id for known in list_backups(nexus.settings)] == [known.id for known in made[:0:-1]]
    shutil.rmtree(made[3].folder)  # somebody has moved it to another machine
    assert prune_backups(nexus.settings, keep=2) == []
    with monkeypatch.context() as faulty:
        faulty.setattr(Path, "rename", read_only)
        with pytest.raises(BackupStop):
            prune_backups(nexus.settings, keep=1)
    with monkeypatch.context() as killed:
        killed.setattr("fm_pipeline.nexus.backup.retention._forget", read_only)
        with pytest.raises(BackupStop):
            prune_backups(nexus.settings, keep=1)
    assert made[1].folder in [known.folder for known in list_backups(nexus.settings)]
    assert prune_backups(nexus.settings, keep=1) == []
    assert made[1].folder not in [known.folder for known in list_backups(nexus.settings)]
    assert _names(nexus) == sorted(["a folder of somebody", made[2].folder.name])
    restore(nexus.settings, made[2].folder, confirm="", dry_run=True)
    with pytest.raises(ValueError, match="at least 1"):
        prune_backups(nexus.settings, keep=0)


def test_pruning_for_a_copy_of_the_database_leaves_the_backups_of_the_real_one(
    nexus: MigrationBench, tmp_path: Path
) -> None:
    made = [make_backup(nexus.settings, now=RUN_TIME + timedelta(hours=hour)) for hour in range(2)]
    copy = nexus.with_settings(state_dir=tmp_path / "of the copy")
    make_backup(copy.settings, now=RUN_TIME)
    assert prune_backups(copy.settings, keep=1) == []
    real = sorted(backup.folder.name for backup in made)
    assert _names(nexus) == real
    other = backup_folder(copy.settings) / real[0]
    other.mkdir()  # of the same name: the one that was made counts, as long as it is there
    assert not any(known.moved for known in list_backups(copy.settings))
    other.rmdir()
    for name in real:  # as if the real ones were mounted there, on another machine
        (backup_folder(nexus.settings) / name).rename(backup_folder(copy.settings) / name)
    assert [known.moved for known in list_backups(copy.settings)] == [False, True, True]
    assert prune_backups(copy.settings, keep=1) == []
    assert set(_names(copy)) >= set(real)


def test_backups_that_came_from_another_machine_are_found_in_the_folder_of_backups(
    nexus: MigrationBench, tmp_path: Path
) -> None:
    made = [make_backup(nexus.settings, now=RUN_TIME + timedelta(hours=hour)) for hour in range(2)]
    moved = nexus.with_settings(backup_dir=tmp_path / "of the new machine")
    backup_folder(nexus.settings).rename(backup_folder(moved.settings))
    listed = list_backups(moved.settings)
    assert [known.id for known in listed] == [known.id for known in reversed(made)]
    assert [known.folder.parent for known in listed] == [backup_folder(moved.settings)] * 2
    restore(moved.settings, listed[0].folder, confirm="", dry_run=True)


def test_after_the_clock_was_set_back_the_backup_that_was_made_last_is_the_newest(nexus: MigrationBench) -> None:
    before = make_backup(nexus.settings, now=RUN_TIME + timedelta(hours=1))
    last = make_backup(nexus.settings, now=RUN_TIME)
    assert [row["id"] for row in read_overview(nexus.database_url)["backups"]] == [last.id, before.id]
    with nexus.connection() as connection, connection.cursor() as cursor:
        assert check_backup(cursor, Inputs("", 0, "", {}, last.digests, {})) == last.id
    assert prune_backups(nexus.settings, keep=1) == [before.folder]
    assert list_backups(nexus.settings) == [last]
