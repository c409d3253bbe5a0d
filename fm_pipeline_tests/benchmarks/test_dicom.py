"""The benchmark of scan and tick, at the size of a few directories. What it measures here means nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_scan_and_tick_are_compared_on_trees_in_which_nothing_is_new(tmp_path: Path) -> None:
    # The benchmark itself refuses to count a scan or a tick that finds something, or misses a file.
    file = tmp_path / "rows.json"
    command = [sys.executable, BENCHMARKS / "dicom.py", "--scale", "0.002", "--rounds", "1", "--json", file]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads(file.read_text("utf-8"))
    assert content["benchmark"] == "dicom"
    assert len(content["rows"]) == 3
    for row in content["rows"]:
        assert row["name"] in done.stdout
        assert row["ours"] > 0
        assert isinstance(row["holds"], bool)
