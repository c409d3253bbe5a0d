"""The ways into a FileMaker file, each against the plainest program that does the same.

    python benchmarks/sources.py [--json FILE] [--rounds N] [--megabytes N] [--workbook N] [--records N]

Both sides of a row in turn; the medians count. docs/benchmarks.md says more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from from_filemaker.export_files import OneReading, read_apart, write_tab, write_workbook
from from_filemaker.server_doors import by_door, by_loop, served
from results import Row, options, report

from fm_pipeline.filemaker.door import DoorKind

MOST_MEMORY = 300  # MB for a file of any size


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--megabytes", type=float, default=2000, help="size of the .tab (default: 2,000)")
    parser.add_argument("--workbook", type=int, default=50_000, help="records of the .xlsx (default: 50,000)")
    parser.add_argument("--records", type=int, default=30_000, help="on the server (default: 30,000)")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        rows = [
            *export_tab(Path(folder), given.megabytes, given.rounds),
            *export_workbook(Path(folder), given.workbook, given.rounds),
            *server_doors(given.records, given.rounds),
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


def server_doors(records: int, rounds: int) -> Iterator[Row]:
    """A door of the server: time against a loop that fetches the same pages."""
    kinds: tuple[DoorKind, ...] = ("data_api", "odata")
    with served(records) as settings:
        for kind in kinds:
            ways = {"door": partial(by_door, settings, kind), "loop": partial(by_loop, settings, kind)}
            timed: dict[str, list[float]] = {"door": [], "loop": []}
            for number in range(rounds):
                for who in ("door", "loop") if number % 2 == 0 else ("loop", "door"):
                    found, seconds = ways[who]()
                    timed[who].append(seconds)
                    if found != records:
                        sys.exit(f"{who} of {kind}: {found} records of {records}.")
            name = f"{kind}, {records:,} records, against a bare loop (s)"
            yield Row(name, median(timed["door"]), median(timed["loop"]), 1.25, "at_most")


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
