#!/bin/sh
# comparesv finds a dose of 5 and one of 5.9 equal, and a pain of 0 and none at all.
#
# The package (0.17) compares two tables, cell by cell, and says which cells are equal. It takes a column's type from the first table:
# if all its values are whole numbers, those of the second table are cut to whole numbers before they are compared. 5.9, 5.5 and 5
# are then the same, and the statistics say 100.00 % for the column. If the tables change places, the same cells differ. Each two
# values that Python takes for false are equal too: 0, an empty text and a missing value. A migration that lost all zeros, or that
# stored other doses than whole ones, passes.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check rapidfuzz==3.14.6 2>"$folder/log"
"$folder/venv/bin/pip" install -q --disable-pip-version-check --no-deps comparesv==0.17 2>>"$folder/log"
cd "$folder"

venv/bin/python - <<'END'
import sys
from importlib.metadata import version
import comparesv

NAMES = ["patient", "mg", "pain"]
OLD = [["Adams", 5, 0], ["Baker", 10, 0], ["Cole", 20, 3]]
NEW = [["Adams", 5.9, None], ["Baker", 10.5, ""], ["Cole", 20, 3]]

def compare(what, first, second):
    """Return the patients and columns that differ, and the percentages of equal cells."""
    found = comparesv.run(first, NAMES, second, NAMES)
    differences = [
        (row[0], name) for row, equal in zip(first, found["results"]) for name, same in zip(NAMES, equal) if not same
    ]
    print(f"{what}:", found["stats"], "differences:", *differences)
    return differences, found["stats"]

print("comparesv", version("comparesv"))
print("old:", *OLD)
print("new:", *NEW)
forth = compare("old against new", OLD, NEW)
back = compare("new against old", NEW, OLD)
sys.exit(not (
    forth == ([], {"patient": "100.00", "mg": "100.00", "pain": "100.00"})
    and back[0] == [("Adams", "mg"), ("Baker", "mg")]
))
END
