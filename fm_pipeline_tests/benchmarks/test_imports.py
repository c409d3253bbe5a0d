"""Benchmarks that no other test runs, because they take minutes, at least find what they import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_benchmark_finds_what_it_imports() -> None:
    code = f"import {', '.join(path.stem for path in BENCHMARKS.glob('*.py'))}"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=BENCHMARKS, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
