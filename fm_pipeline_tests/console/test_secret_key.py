"""Django's secret key in the state folder."""

from __future__ import annotations

import os
from pathlib import Path

from fm_pipeline.console.secret_key import read_secret_key


def test_the_key_is_made_once_for_its_owner_alone_also_after_a_start_that_was_killed(tmp_path: Path) -> None:
    """In a container each start may have the same process id, so a file named after it is still there."""
    folder = tmp_path / "console"
    folder.mkdir()
    (folder / f"secret_key.{os.getpid()}").touch()
    key = read_secret_key(tmp_path)
    assert len(key) == 64
    assert read_secret_key(tmp_path) == key
    assert (folder / "secret_key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["secret_key", f"secret_key.{os.getpid()}"]
