"""What every benchmark gives: rows of a comparison, as a table for people and as JSON for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what is measured, with its unit.
        ours, against: both measured in this run.
        kind: `at_least`: how many times faster we are, against / ours, must reach the bound. `at_most`: what we take
            of the other, ours / against, must not exceed it.
        beside: what else was measured, for people.
    """

    name: str
    ours: float
    against: float
    bound: float
    kind: Literal["at_least", "at_most"]
    beside: str = ""

    @property
    def ratio(self) -> float:
        """The number that the bound is for."""
        return self.against / self.ours if self.kind == "at_least" else self.ours / self.against

    @property
    def holds(self) -> bool:
        """Whether the bound is kept."""
        return self.ratio >= self.bound if self.kind == "at_least" else self.ratio <= self.bound

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        numbers = {key: value for key, value in asdict(self).items() if key not in {"kind", "beside"}}
        return numbers | {"ratio": round(self.ratio, 3), "holds": self.holds}


def options(description: str | None, *, rounds: int = 3) -> argparse.ArgumentParser:
    """Return a parser with the options that the benchmarks share: `--json` and `--rounds`.

    Args:
        rounds: the default.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often it is measured (default: {rounds})")
    return parser


def report(benchmark: str, rows: Sequence[Row], file: Path | None) -> None:
    """Print the rows, and write them to a file if one is wanted."""
    width = max(len(row.name) for row in rows)
    print(f"{'':{width}}  {'ours':>9}  {'against':>9}  {'ratio':>7}  bound")  # noqa: T201
    for row in rows:
        bound = f"{'≥' if row.kind == 'at_least' else '≤'} {row.bound:g} {'holds' if row.holds else 'DOES NOT HOLD'}"
        print(f"{row.name:{width}}  {row.ours:9.3f}  {row.against:9.3f}  {row.ratio:7.2f}  {bound}")  # noqa: T201
        if row.beside:
            print(f"    {row.beside}")  # noqa: T201
    if file:
        content = {"benchmark": benchmark, "rows": [row.as_dict() for row in rows]}
        file.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
