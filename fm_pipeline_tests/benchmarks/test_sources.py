"""The benchmark of sources, with small files. What it measures here means nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_door_is_compared_with_the_plainest_program(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    command = [sys.executable, str(BENCHMARKS / "sources.py"), "--rounds", "1", "--megabytes", "0.1"]
    command += ["--workbook", "50", "--records", "40", "--json", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(file.read_text("utf-8"))["rows"]
    assert [row["bound"] for row in rows] == [2, 1, 3, 1.25, 1.25]
    assert all(row["ours"] > 0 and row["against"] > 0 for row in rows)
    assert "against pandas.read_csv" in done.stdout
