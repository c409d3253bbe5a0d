"""The benchmark of the reimport, at the size of a few patients. What it measures here means nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_reimport_and_its_rivals_leave_the_same_rows_and_are_compared(tmp_path: Path) -> None:
    # The benchmark itself refuses to compare ways that leave different rows.
    file = tmp_path / "rows.json"
    command = [sys.executable, str(BENCHMARKS / "reimport.py"), "--scale", "0.02", "--rounds", "1", "--json", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads(file.read_text("utf-8"))
    assert content["benchmark"] == "reimport"
    assert len(content["rows"]) == 5
    for row in content["rows"]:
        assert set(row) == {"name", "ours", "against", "ratio", "bound", "holds"}
        assert row["name"] in done.stdout
        assert row["ours"] > 0
        assert row["against"] > 0
        assert isinstance(row["holds"], bool)
