"""Today's times against those of an earlier commit, in one run: every row of the benchmarks, both sides in turn.

    python benchmarks/compare.py REV [--only reimport|images|dicom] [--rounds N] [--scale N] [--json FILE]

Each round runs each benchmark once with REV and once with this checkout. A row holds if its median is at most 1.05
times that of REV, or no more than REV itself took in one of its rounds. Exit code 0 if all hold. Both sides use the
packages that are installed here; only the project's own code is REV's. docs/benchmarks.md says more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

TOP = Path(__file__).resolve().parents[1]
BENCHMARKS = ("reimport", "images", "dicom")
BOUND = 1.05


@dataclass(frozen=True)
class Compared:
    """One row of a benchmark, in its own unit.

    Attributes:
        before, now: medians of the rounds of REV and of this checkout.
        slowest_before: the largest value of REV's rounds.
    """

    benchmark: str
    row: str
    before: float
    now: float
    slowest_before: float

    @property
    def ratio(self) -> float:
        """Below 1 is faster than REV."""
        return self.now / self.before

    @property
    def holds(self) -> bool:
        """Not slower than REV, as far as REV agrees with itself."""
        return self.ratio <= BOUND or self.now <= self.slowest_before


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rev", help="the commit to compare with")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="only this benchmark; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is measured (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="as the benchmarks take it")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        before = checkout_of(given.rev, Path(folder))
        compared: list[Compared] = []
        for name in given.only or BENCHMARKS:
            rows = _compare(name, before, rounds=given.rounds, scale=given.scale)
            _show(rows)  # the next one takes many minutes, and may fail
            compared += rows
    if given.json:
        written = [asdict(row) | {"ratio": round(row.ratio, 4), "holds": row.holds} for row in compared]
        given.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if all(row.holds for row in compared) else 1)


def _show(rows: list[Compared]) -> None:
    width = max(len(row.row) for row in rows)
    print(f"{'':{width}}  {'before':>9}  {'now':>9}  {'ratio':>6}")  # noqa: T201
    for row in rows:
        verdict = "holds" if row.holds else "DOES NOT HOLD"
        print(f"{row.row:{width}}  {row.before:9.3f}  {row.now:9.3f}  {row.ratio:6.3f}  {verdict}", flush=True)  # noqa: T201


def checkout_of(rev: str, folder: Path) -> Path:
    """Write the files of a commit to a folder of their own, and return it."""
    folder.mkdir(exist_ok=True)
    archive = subprocess.run(["git", "archive", rev], cwd=TOP, check=True, stdout=subprocess.PIPE)  # noqa: S603, S607
    subprocess.run(["tar", "--extract", "--directory", str(folder)], input=archive.stdout, check=True)  # noqa: S603, S607
    return folder


def _compare(benchmark: str, before: Path, *, rounds: int, scale: float) -> list[Compared]:
    """Both sides in turn; who comes first changes with each round."""
    taken: dict[Path, list[dict[str, float]]] = {before: [], TOP: []}
    for number in range(rounds):
        for checkout in (before, TOP) if number % 2 == 0 else (TOP, before):
            taken[checkout].append(_rows(checkout, benchmark, scale))
            print(f"{benchmark}, round {number + 1} of {rounds}: {_name(checkout, before)}", file=sys.stderr)  # noqa: T201
    rows = []
    for row in taken[TOP][0]:
        then, now = ([values[row] for values in taken[side] if row in values] for side in (before, TOP))
        if then:  # a row that REV has not is no comparison
            rows.append(Compared(benchmark, row, median(then), median(now), max(then)))
    return rows


def _name(checkout: Path, before: Path) -> str:
    return "before" if checkout == before else "now"


def _rows(checkout: Path, benchmark: str, scale: float) -> dict[str, float]:
    """One round of a benchmark with the code of a checkout: what ours took, by row."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        options = ["--rounds", "1", "--scale", str(scale), "--json", str(file)]
        subprocess.run(  # noqa: S603
            [sys.executable, str(checkout / "benchmarks" / f"{benchmark}.py"), *options],
            env=os.environ | {"PYTHONPATH": str(checkout)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        return {row["name"]: row["ours"] for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}


if __name__ == "__main__":
    main()
