#!/bin/sh
# crump cuts the ID P10 of the second file to P1, and writes this patient over that one: "Successfully synced".
#
# The program (0.7.1) loads CSV files into PostgreSQL or SQLite; crump prepare writes the configuration from a first file. It makes each
# text column as long as that file's longest value, the key as well. A later file's longer values are cut, which a line on standard
# error says as a count ("Truncated 1 row"), and the rest of an ID is an ID: P10 becomes P1, whose row is replaced. Of "latex,
# penicillin" the penicillin is cut off. A day that the first file had in each row and the next has not is 1 January of the year 1.
# For the key it takes a column by its name, also if its values repeat: of two visits of one patient the last is kept, and three rows
# are "synced". The exit code is 0.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check crump==0.7.1 pyarrow==26.0.1 2>"$folder/log"
cd "$folder"

venv/bin/python - <<'END'
import csv, os, sqlite3, subprocess, sys
from importlib.metadata import version

def save(name, *rows):
    with open(name, "w", newline="") as file:
        csv.writer(file).writerows(rows)

def crump(*arguments):
    done = subprocess.run(
        ["venv/bin/crump", *arguments, "--config", "crump.yml"], capture_output=True, text=True,
        env={**os.environ, "DATABASE_URL": "sqlite:///clinic.db"})
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if "synced" in line or "mode:" in line]
    print("crump", *arguments, f"(exit code {done.returncode})")
    print(*(f"  {line}" for line in said), sep="\n")
    return done.returncode == 0 and any("Successfully synced" in line for line in said)

def table(name):
    with sqlite3.connect("clinic.db") as connection:
        rows = connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall()
    print("  table:", *rows)
    return rows

print("crump", version("crump"))
columns = ["patient_id", "name", "allergies", "seen"]
save("first.csv", columns, ["P1", "Adams", "pollen", "2026-01-05"], ["P2", "Baker", "latex", "2026-01-05"])
save("second.csv", columns, ["P10", "Cole", "none", "2026-02-05"], ["P3", "Dunn", "latex, penicillin", ""])
crump("prepare", "first.csv", "--job", "patients")
synced = [crump("sync", "first.csv", "--job", "patients")]
before = table("patients")
synced.append(crump("sync", "second.csv", "--job", "patients"))
after = table("patients")

save("visits.csv", ["patient_id", "day", "mg"], ["P1", "2026-01-05", 5], ["P1", "2026-01-06", 6], ["P2", "2026-01-05", 7])
crump("prepare", "visits.csv", "--job", "visits")
synced.append(crump("sync", "visits.csv", "--job", "visits"))
visits = table("visits")
sys.exit(not (
    all(synced)
    and [row[:3] for row in before] == [("P1", "Adams", "pollen"), ("P2", "Baker", "latex")]
    and [row[:3] for row in after] == [("P1", "Cole", "none"), ("P2", "Baker", "latex"), ("P3", "Dunn", "latex,")]
    and after[2][3].startswith("0001-01-01")
    and [(row[0], row[2]) for row in visits] == [("P1", 6), ("P2", 7)]
))
END
