"""The benchmark of scan, tick and import, at the size of a few files. What it measures here means nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from fm_pipeline_tests.support.orthanc import need_orthanc

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_scan_and_tick_are_compared_on_trees_in_which_nothing_is_new(tmp_path: Path) -> None:
    # The benchmark itself refuses to count a scan or a tick that finds something, or misses a file.
    file = tmp_path / "rows.json"
    command = [sys.executable, str(BENCHMARKS / "dicom.py"), "--only", "scan", "--scale", "0.002"]
    command += ["--rounds", "1", "--json", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads(file.read_text("utf-8"))
    assert content["benchmark"] == "dicom"
    assert len(content["rows"]) == 3
    for row in content["rows"]:
        assert row["name"] in done.stdout
        assert row["ours"] > 0
        assert isinstance(row["holds"], bool)


def test_imports_are_compared_that_store_every_file(tmp_path: Path) -> None:
    need_orthanc()
    file = tmp_path / "rows.json"
    command = [sys.executable, str(BENCHMARKS / "dicom.py"), "--only", "far", "--scale", "0.01", "--rounds", "1"]
    done = subprocess.run([*command, "--json", str(file)], check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(file.read_text("utf-8"))["rows"]
    assert [row["bound"] for row in rows] == [15]
    assert all(row["ours"] > 0 and row["against"] > 0 for row in rows)
