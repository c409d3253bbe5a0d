#!/bin/sh
# csv-cdc finds no difference between two exports although a dose is ten times as high and a patient is gone.
#
# The program (0.1.3) lists what was added, changed and deleted between two CSV files. It reads each file without a line of names, which
# is what FileMaker exports as CSV, and lets polars take the type of a column from the first 100 rows and make nothing of each later
# value that does not fit. If these rows have whole numbers, a dose of 2.5 further down is as empty as one of 25.0, and all charts such
# as A-17 have one key, "nan": of them the last row is kept, and no change, no deletion and no addition of the others is seen.
# 007 and 7 are one patient too. A file that begins with a line of names is read as text, and compared right; so the tests of the
# package pass, and so does a trial with a file from elsewhere. Exit code 0, which the program has for equal files; no warning.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check csv-cdc==0.1.3 polars==2.1.0 2>"$folder/log"

cd "$folder"
"$folder/venv/bin/python" - <<'END'
import csv, json, subprocess, sys
from importlib.metadata import version

def compare(what, old, new, names=()):
    """Writes both exports as FileMaker does, and returns what the program finds: rows that were added, changed and deleted."""
    for name, rows in {"old.csv": old, "new.csv": new}.items():
        with open(name, "w", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows([*names, *rows])
    done = subprocess.run(["venv/bin/csv-cdc", "old.csv", "new.csv", "--format", "json", "--progressbar", "0"], capture_output=True, text=True)
    found = json.loads(done.stdout)
    counts = [len(found[kind]) for kind in ("Additions", "Modifications", "Deletions")]
    print(f"{what}: exit code {done.returncode}, {counts[0]} added, {counts[1]} changed, {counts[2]} deleted")
    return done.returncode, *counts

print("csv-cdc", version("csv-cdc"), "- polars", version("polars"))
first = [[f"{number}", "5"] for number in range(1, 121)]
old = [*first, ["A-17", "2.5"], ["A-18", "5"], ["A-19", "10"], ["A-20", "5"]]
new = [*first, ["A-17", "25.0"], ["A-19", "10"], ["A-21", "10"], ["A-20", "5"]]
print("old:", old[120:], "new:", new[120:])
as_exported = compare("as FileMaker exports it", old, new)
with_names = compare("with a line of names", old, new, [["Chart", "Dose"]])
zeros = compare("charts 007 and 7, of which 007 is gone", [["007", "5"], ["7", "5"]], [["7", "5"]])
sys.exit(not (as_exported == (0, 0, 0, 0) and with_names == (1, 1, 1, 1) and zeros == (0, 0, 0, 0)))
END
