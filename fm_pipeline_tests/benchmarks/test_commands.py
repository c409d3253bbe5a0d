"""The benchmark of commands that have nothing to do. What a single round measures means nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_command_is_compared_with_a_python_that_does_nothing(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    command = [
        sys.executable,
        str(BENCHMARKS / "commands.py"),
        "--only",
        "status",
        "--rounds",
        "1",
        "--json",
        str(file),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(file.read_text("utf-8"))["rows"]
    assert [row["bound"] for row in rows] == [25, 25]
    assert all(row["ours"] > row["against"] > 0 for row in rows)
