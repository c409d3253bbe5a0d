"""The ways into a FileMaker file, each against the plainest program that does the same.

    python benchmarks/sources.py [--json FILE] [--rounds N] [--megabytes N] [--workbook N]

Both sides of a row in turn; the medians count. docs/benchmarks.md says more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from export_files import OneReading, read_apart, write_tab, write_workbook
from results import Row, report

MOST_MEMORY = 300  # MB for a file of any size


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default: 3)")
    parser.add_argument("--megabytes", type=float, default=2000, help="size of the .tab (default: 2,000)")
    parser.add_argument("--workbook", type=int, default=50_000, help="records of the .xlsx (default: 50,000)")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        rows = [
            *export_tab(Path(folder), given.megabytes, given.rounds),
            *export_workbook(Path(folder), given.workbook, given.rounds),
        ]
    report("sources", rows, given.json)


def export_tab(folder: Path, megabytes: float, rounds: int) -> Iterator[Row]:
    """A large tab file: time against pandas.read_csv, and memory."""
    path = folder / "Notes.tab"
    write_tab(path, megabytes)
    ours, theirs = _in_turn(path, rounds)
    yield Row(f".tab of {megabytes:,.0f} MB, against pandas.read_csv (s)", *_seconds(ours, theirs), 2, "at_most")
    peak = max(reading.megabytes for reading in ours)
    yield Row(f".tab of {megabytes:,.0f} MB, memory (MB)", peak, MOST_MEMORY, 1, "at_most")
    path.unlink()


def export_workbook(folder: Path, records: int, rounds: int) -> Iterator[Row]:
    """A workbook: time against pandas.read_excel with openpyxl."""
    path = folder / "Notes.xlsx"
    write_workbook(path, records)
    ours, theirs = _in_turn(path, rounds)
    yield Row(f".xlsx of {records:,} records, against pandas.read_excel (s)", *_seconds(ours, theirs), 3, "at_least")


def _in_turn(path: Path, rounds: int) -> tuple[list[OneReading], list[OneReading]]:
    readings: dict[str, list[OneReading]] = {"ours": [], "pandas": []}
    for number in range(rounds):
        for who in ("ours", "pandas") if number % 2 == 0 else ("pandas", "ours"):
            readings[who].append(read_apart(who, path))
    if len({reading.rows for each in readings.values() for reading in each}) != 1:
        sys.exit("pandas and the door read different numbers of records: there is nothing to compare.")
    return readings["ours"], readings["pandas"]


def _seconds(ours: list[OneReading], theirs: list[OneReading]) -> tuple[float, float]:
    return median(each.seconds for each in ours), median(each.seconds for each in theirs)


if __name__ == "__main__":
    main()
