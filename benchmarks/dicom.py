"""The import of a hospital's DICOM files: what it costs to see that nothing is new, and to bring it to Orthanc.

    python benchmarks/dicom.py [--json FILE] [--rounds N] [--scale N] [--only ROWS]

docs/benchmarks.md says more.
"""

from __future__ import annotations

from dicom_scan import scan_rows
from into_orthanc.measure import ROWS, import_rows
from results import Row, options, report

from fm_pipeline.sandbox.stack.orthanc import OrthancService


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="1 is 100,000 and 1,000,000 files, and 600 large ones imported"
    )
    parser.add_argument("--only", choices=["scan", "import", *ROWS], help="only these rows; import: all but scan")
    given = parser.parse_args()
    only = {None: {"scan", *ROWS}, "import": set(ROWS)}.get(given.only, {given.only})
    rows: list[Row] = []
    if "scan" in only:
        rows += scan_rows(given.scale, given.rounds)
    if only - {"scan"}:
        if OrthancService.available():
            rows += import_rows(only, scale=given.scale, rounds=given.rounds, note=print)
        else:
            print("Orthanc is not installed (Debian: apt-get install orthanc): no rows of the import.")  # noqa: T201
    report("dicom", rows, given.json)


if __name__ == "__main__":
    main()
