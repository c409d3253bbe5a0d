from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import sqlalchemy

from fm_pipeline.errors import UnforeseenError, redacted


def test_a_full_disk_is_named_wherever_it_is_met() -> None:
    with (
        pytest.raises(UnforeseenError, match=r"^A disk of this machine is full.* Make room"),
        redacted(),
        open("/dev/full", "w", buffering=1) as full,
    ):
        full.write("a line\n")


def test_a_full_disk_is_named_also_by_the_file_of_dagsters_history(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/runs.db", poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("PRAGMA max_page_count = 1"))
        with pytest.raises(UnforeseenError, match=r"^A disk of this machine is full"), redacted():
            connection.execute(sqlalchemy.text("CREATE TABLE runs (id int)"))


def test_a_folder_of_dagsters_history_that_is_gone_is_named(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/gone/runs.db")
    with pytest.raises(UnforeseenError, match=r"cannot be opened .* DAGSTER_HOME"), redacted():
        engine.connect()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_of_another_user_or_on_a_read_only_disk_is_told_without_the_name_of_a_file(number: int) -> None:
    with pytest.raises(UnforeseenError) as told, redacted():
        raise OSError(number, os.strerror(number), "/hospital/Doe^Jane.dcm")
    assert told.value.what.startswith(f"A file or folder may not be read or written: {os.strerror(number)}, at ")
    assert "STATE_DIR, BACKUP_DIR, DAGSTER_HOME and TMPDIR" in told.value.remedy
    assert "Doe" not in str(told.value)
