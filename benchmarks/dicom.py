"""The import of a hospital's DICOM files: what it costs to see that nothing is new.

    python benchmarks/dicom.py [--json FILE] [--rounds N] [--scale N]

docs/benchmarks.md says more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dicom_scan import scan_rows
from results import report


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default: 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the trees; 1 is 100,000 and 1,000,000 files")
    given = parser.parse_args()
    report("dicom", scan_rows(given.scale, given.rounds), given.json)


if __name__ == "__main__":
    main()
