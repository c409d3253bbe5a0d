#!/bin/sh
# csvtidy --fix-dates makes 0080-01-05 of the birth date 01/05/80, and takes the time away from appointments.
#
# The program (0.1.0) cleans CSV files, "non-destructive by default": a date that it cannot parse stays as it is. It tries a list of
# formats in turn. The one with a year of four digits comes first, and DuckDB accepts two digits for it: the formats for two digits,
# which are in the list too, are never reached. Each two-digit year is in the first century, and a program that reads the file makes a
# patient 1946 years old. A date with a time, 2026-01-05 14:30:00, becomes the day alone: two appointments of a day are equal then, and
# csvtidy dedupe removes one. In a column with the day first, 13/04/2026 is understood and 03/04/2026 becomes 4 March; for that there is
# --dayfirst. It prints the number of rows and nothing else.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check csvtidy==0.1.0 duckdb==2.0.1 typer==0.29.2 PyYAML==6.0.3 2>"$folder/log"
cd "$folder"

venv/bin/python - <<'END'
import csv, subprocess, sys
from importlib.metadata import version

COLUMNS = ["name", "born", "appointment"]
ROWS = [["Adams", "01/05/80", "2026-01-05 08:00:00"], ["Adams", "01/05/80", "2026-01-05 14:30:00"],
        ["Baker", "13.04.46", "2026-01-06 09:15:00"], ["Cole", "5-Jan-80", "2026-01-06"]]
with open("patients.csv", "w", newline="") as file:
    csv.writer(file).writerows([COLUMNS, *ROWS])

def run(*arguments):
    """Run the program, which writes a file, and return the file's rows."""
    done = subprocess.run([sys.executable, "-m", "csvtidy", *arguments], capture_output=True, text=True)
    with open(arguments[-1], newline="") as file:
        rows = list(csv.reader(file))[1:]
    print(" ".join(arguments), f"(exit code {done.returncode}):", done.stderr.strip())
    print(*(f"  {row}" for row in rows), sep="\n")
    return rows if done.returncode == 0 else None

print("csvtidy", version("csvtidy"), "with DuckDB", version("duckdb"))
print(*ROWS, sep="\n")
american = run("clean", "patients.csv", "--fix-dates", "born,appointment", "-o", "clean.csv")
day_first = run("clean", "patients.csv", "--fix-dates", "born", "--dayfirst", "-o", "dayfirst.csv")
single = run("dedupe", "clean.csv", "-o", "single.csv")
sys.exit(not (
    american == [["Adams", "0080-01-05", "2026-01-05"]] * 2 + [
        ["Baker", "0046-04-13", "2026-01-06"], ["Cole", "0080-01-05", "2026-01-06"]]
    and [row[1] for row in day_first] == ["0080-05-01", "0080-05-01", "0046-04-13", "0080-01-05"]
    and single == [american[0], *american[2:]]
))
END
