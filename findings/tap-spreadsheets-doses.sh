#!/bin/sh
# tap-spreadsheets makes 2 of a dose of 2.5 if the 100 rows before it are whole numbers, and none of "<5"; patient A-17 is dropped.
#
# The Singer tap (1.1.2) takes the type of a column from the first 100 rows of the first file, and makes each value that type. Of a
# column that began with whole numbers every later value loses what is behind the point, and text becomes null. If that column is
# a primary key, the row is left out, since its key is empty. The names of the columns come from the first file too: in a second
# file with the columns in another order, the day of birth stands under "patient", and the other way round. The log counts what is
# left as processed; no error or warning names a value, and the exit code is 0.
#
# Needs python3.11 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" tap-spreadsheets==1.1.2 openpyxl==3.1.5

PATH="$folder/venv/bin:$PATH" python - "$folder" <<'END'
import json, subprocess, sys
from importlib.metadata import version
from pathlib import Path
from openpyxl import Workbook

folder = Path(sys.argv[1])


def workbook(path, *rows):
    path.parent.mkdir(exist_ok=True)
    book = Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def tap(name, key):
    config = folder / "config.json"
    config.write_text(json.dumps({"files": [
        {"path": str(folder / name / "*.xlsx"), "format": "excel", "worksheet": "Sheet", "table_name": name, "primary_keys": [key]},
    ]}))
    done = subprocess.run(["tap-spreadsheets", "--config", config], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line and "assumed to be unsorted" not in line]
    assert not warnings and "ERROR" not in done.stderr, done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return [message["record"] for message in messages if message["type"] == "RECORD"]


print("tap-spreadsheets", version("tap-spreadsheets"))
written = [(number, 5) for number in range(1, 101)] + [(101, 2.5), (102, "<5"), ("A-17", 7.5), (103, 0.5)]
workbook(folder / "doses/2026.xlsx", ("Patient", "Dose"), *written)
doses = {row["patient"]: row["dose"] for row in tap("doses", "Patient")}
for patient, dose in written[100:]:
    print(f"patient {patient}: dose {dose} becomes {doses.get(patient, 'no row')}")

workbook(folder / "people/1.xlsx", ("Patient", "Born"), ("P1", "1970-01-02"))
workbook(folder / "people/2.xlsx", ("Born", "Patient"), ("1980-03-04", "P2"))
people = [(row["patient"], row["born"]) for row in tap("people", "Patient")]
print("patient and day of birth of two files:", *people)
right = {patient: doses.get(patient) for patient, _ in written[100:]} == {101: 2, 102: None, "A-17": None, 103: 0}
sys.exit(not (right and len(doses) == 103 and people == [("P1", "1970-01-02"), ("1980-03-04", "P2")]))
END
