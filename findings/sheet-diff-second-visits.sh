#!/bin/sh
# sheet-diff compares no visit of a patient who has two: of five changed doses it lists the one of a patient with one visit.
#
# The program (0.2.0) compares two workbooks or CSV files by the column that --key names. If a value of that column comes twice in
# each file, it compares nothing of these rows: it looks for a column that has the value as its name, finds none in either file,
# and takes them for equal. Visits that were changed or added are not listed as long as the patient has two or more in each file.
# There is no message, and the exit code is 0. Its manual says that rows are matched by the column's value, not that each value
# may come once. Without --key rows are compared by their place, and one that is missing makes all behind it differ.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check sheet-diff==0.2.0 pandas==3.1.1 openpyxl==3.1.5 2>"$folder/log"
cd "$folder"

venv/bin/python - <<'END'
import csv, subprocess, sys
from importlib.metadata import version
from openpyxl import Workbook

NAMES = ["patient", "day", "mg"]
VISITS = [["P1", "2026-01-05"], ["P2", "2026-01-05"], ["P2", "2026-01-06"], ["P3", "2026-01-05"], ["P3", "2026-01-06"]]
OLD = [[*visit, dose] for visit, dose in zip(VISITS, [5, 10, 20, 1, 1])]
NEW = [[*visit, dose] for visit, dose in zip(VISITS, [50, 100, 200, 9, 9])]

def save(name, rows):
    if name.endswith(".csv"):
        with open(name, "w", newline="") as file:
            csv.writer(file).writerows([NAMES, *rows])
    else:
        book = Workbook()
        for row in [NAMES, *rows]:
            book.active.append(row)
        book.save(name)

def compare(what, old, new, *options, kind="csv"):
    """Return the lines that the program prints."""
    save(f"old.{kind}", old)
    save(f"new.{kind}", new)
    command = [sys.executable, "-m", "sheetdiff.cli", f"old.{kind}", f"new.{kind}", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    print(f"{what}: exit code {done.returncode}, {len(lines)} lines", *lines[:4], done.stderr[-200:])
    return lines if done.returncode == 0 else None

print("sheet-diff", version("sheet-diff"))
print("old:", *OLD)
print("new:", *NEW)
first = ["- P1 | mg = 5", "+ P1 | mg = 50"]
by_patient = compare("CSV by patient", OLD, NEW, "--key", "patient")
workbook = compare("workbook by patient", OLD, NEW, "--key", "patient", kind="xlsx")
third = ["P2", "2026-01-07", 40]
added = compare("CSV by patient, a third visit of P2 is new", OLD, [*OLD, third], "--key", "patient")
by_place = compare("CSV by place", OLD, NEW)
sys.exit(not (by_patient == workbook == first and added == [] and by_place is not None and len(by_place) == 10))
END
