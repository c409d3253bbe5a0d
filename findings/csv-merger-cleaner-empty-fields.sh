#!/bin/sh
# csv-merge, told to remove doubles by e-mail, keeps one of all patients without an address, and none of a file that calls it E-Mail.
#
# The program (csv-merger-cleaner 1.0.0) merges CSV files, keeps the columns of all, and removes doubles by the columns
# that --dedup names. An empty field is a value like any other to it, and so is a column that a file does not have: the first
# patient without an address stays, all others are "duplicates". A file whose column has another name gives no row at all, if there
# was a patient without an address before it; a name that no file has leaves one patient of all. It exits with 0.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check csv-merger-cleaner==1.0.0 chardet==5.2.0 2>"$folder/log"
cd "$folder"

venv/bin/python - <<'END'
import csv, subprocess, sys
from importlib.metadata import version

FILES = {
    "north.csv": (["name", "email"], [["Adams", "adams@example.org"], ["Baker", ""], ["Cole", ""], ["Dunn", ""]]),
    "south.csv": (["name", "E-Mail"], [["Eaton", "eaton@example.org"], ["Fox", "fox@example.org"]]),
    "west.csv": (["name", "email"], [["Adams", "ADAMS@example.org"], ["Gray", "gray@example.org"], ["Hill", ""]]),
}
for name, (columns, rows) in FILES.items():
    with open(name, "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])

def merge(*options):
    """Return the names of the patients in the merged file."""
    command = [sys.executable, "-m", "csv_merger_cleaner", "-i", *FILES, "-o", "all.csv", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    with open("all.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    said = [line.strip() for line in done.stdout.splitlines() if "Removed" in line]
    print(" ".join(options) or "no option", f"(exit code {done.returncode}):", *said, "->", *names)
    return names if done.returncode == 0 else None

print("csv-merger-cleaner", version("csv-merger-cleaner"))
print("patients: 9 rows, 8 people; Adams comes twice, Baker, Cole, Dunn and Hill have no address, south.csv has E-Mail")
every, by_email, by_other = merge(), merge("--dedup", "email"), merge("--dedup", "e_mail")
sys.exit(not (len(every) == 9 and by_email == ["Adams", "Baker", "Gray"] and by_other == ["Adams"]))
END
