"""The benchmark of images, with a few of them. What it measures here means nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_copies_and_conversion_are_compared_with_their_rivals(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    command = [sys.executable, str(BENCHMARKS / "images.py"), "--scale", "0.01", "--rounds", "1", "--kilobytes", "1"]
    done = subprocess.run([*command, "--json", str(file)], check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads(file.read_text("utf-8"))
    assert content["benchmark"] == "images"
    assert len(content["rows"]) == 2
    for row in content["rows"]:
        assert set(row) == {"name", "ours", "against", "ratio", "bound", "holds"}
        assert row["name"] in done.stdout
        assert row["ours"] > 0
        assert row["against"] > 0
