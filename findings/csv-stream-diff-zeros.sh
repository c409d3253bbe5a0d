#!/bin/sh
# csv-stream-diff finds no difference between a dose of 5 and one of 50: to it 10, 100 and 1000 are 1.
#
# The program (0.2.8) compares two large CSV files by a key. It compares what looks like a number as one, as its manual says, so that
# 5 and 5.000 are equal. To do so it takes the zeros at the end off, those of a whole number too: 20 becomes 2, and 120 becomes 12.
# Two whole numbers that differ in the zeros at their end are equal. Of seven doses that a copy has ten times or a hundred times too
# high or too low, the summary counts one as different, the one with a fraction, and seven rows as matched. There is no warning, and
# the exit code is 0. Doses that differ in another digit are found, so that a trial shows that it works. The numeric options of the
# example in the package change nothing. With normalize_numeric_values and treat_null_as_zero_for_numeric off all seven are found.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check csv-stream-diff==0.2.8 2>"$folder/log"
cd "$folder"

venv/bin/python - <<'END'
import json, subprocess, sys
from importlib.metadata import version
from pathlib import Path

OLD = ["5", "10", "100", "20", "0.5", "120", "1000"]
NEW = ["50", "1", "1", "2", "5", "12", "10"]

def compare(what, old, new, **options):
    """Return how many rows the program calls different, and its exit code."""
    for side, doses in {"left": old, "right": new}.items():
        Path(f"{side}.csv").write_text("visit,mg\n" + "".join(f"{visit},{dose}\n" for visit, dose in enumerate(doses)))
    settings = {
        "files": {"left": "left.csv", "right": "right.csv"},
        "keys": {"left": ["visit"], "right": ["visit"]},
        "compare": {"left": ["mg"], "right": ["mg"]},
        "comparison": options,
        "performance": {"workers": 1, "show_progress": False},
        "output": {"directory": "out", "prefix": ""},
    }
    Path("settings.yaml").write_text(json.dumps(settings))
    done = subprocess.run(["venv/bin/csv-stream-diff", "-c", "settings.yaml"], capture_output=True, text=True)
    summary = json.loads(Path("out/summary.json").read_text())
    counts = summary["counts"]
    print(f"{what}: {counts['matched']} matched, {counts['different_rows']} different, warnings {summary['warnings']}")
    return counts["different_rows"], done.returncode

example = {"normalize_numeric_values": True, "numeric_decimal_places": 4, "numeric_tolerance": 0.0001, "treat_null_as_zero_for_numeric": True}
print("csv-stream-diff", version("csv-stream-diff"))
print("old:", OLD, "new:", NEW)
default = compare("without options", OLD, NEW)
as_example = compare("with the numeric options of its example", OLD, NEW, **example)
as_text = compare("with both options off", OLD, NEW, normalize_numeric_values=False, treat_null_as_zero_for_numeric=False)
written = compare("5 and 5.000, without options", ["5"], ["5.000"])
other = compare("15, 25, 200 and 16, 35, 300, without options", ["15", "25", "200"], ["16", "35", "300"])
sys.exit(not (default == as_example == (1, 0) and as_text == (7, 0) and written == (0, 0) and other == (3, 0)))
END
