#!/bin/sh
# target-universal-file keeps the last run of an incremental transfer, and of one whose columns change the part after the change.
#
# The Singer target (0.0.1) writes "any file type": CSV, JSON lines, Parquet, workbooks. Its load_method is append-only by default, which
# "will always write all input records", but it opens the file anew whenever it writes: a second run, which has only what is new, leaves
# nothing of the first; and if a table gets a column while it is read (a second SCHEMA message, which Singer allows), the records before it
# are gone. A workbook has no line of names: the first record is written over it, so that the next reader takes the first patient for the
# names. Exit code 0 in each.
#
# Needs python3.11 or newer and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv==0.13.9 2>"$folder/log"
"$folder/venv/bin/uv" pip install -q --no-cache --python "$folder/venv/bin/python" target-universal-file==0.0.1 singer-sdk==0.45.12 openpyxl==3.1.5
cd "$folder"

venv/bin/python - <<'END'
import csv, json, subprocess, sys
from importlib.metadata import version
from pathlib import Path
from openpyxl import load_workbook

NAMES = {"id": {"type": "string"}, "drug": {"type": "string"}, "mg": {"type": "number"}}
ROWS = [("A-1", "insulin", 7), ("B-2", "digoxin", 0.125), ("C-3", "warfarin", 5), ("D-4", "heparin", 2)]

def schema(**more):
    return {"type": "SCHEMA", "stream": "doses", "key_properties": ["id"], "schema": {"type": "object", "properties": {**NAMES, **more}}}

def records(rows):
    return [{"type": "RECORD", "stream": "doses", "record": dict(zip(NAMES, row))} for row in rows]

def run(what, file_type, messages, **more):
    """Give the target these messages, and return the rows of its file, with the line of names."""
    Path("config.json").write_text(json.dumps({"protocol": "local", "file_type": file_type, "path": what, **more}))
    done = subprocess.run(["venv/bin/target-universal-file", "--config", "config.json"], text=True, capture_output=True, timeout=60,
                          input="".join(json.dumps(message) + "\n" for message in messages))
    path = Path(what, f"doses.{file_type}")
    rows = list(csv.reader(path.open())) if file_type == "csv" else [list(row) for row in load_workbook(path).active.values]
    sent = sum(message["type"] == "RECORD" for message in messages)
    print(f"{what}: exit code {done.returncode}, records {sent} - in the file:", *rows, done.stderr[-300:] if done.returncode else "")
    return done.returncode, [row[0] for row in rows]

print("target-universal-file", version("target-universal-file"))
seen = [
    run("two runs", "csv", [schema(), *records(ROWS[:3])]),
    run("two runs", "csv", [schema(), *records(ROWS[3:])]),
    run("a new column", "csv", [schema(), *records(ROWS[:3]), schema(note={"type": "string"}), *records(ROWS[3:])]),
    run("a workbook", "xlsx", [schema(), *records(ROWS)]),
]
sys.exit(seen != [(0, ["id", "A-1", "B-2", "C-3"]), (0, ["id", "D-4"]), (0, ["id", "D-4"]), (0, ["A-1", "B-2", "C-3", "D-4"])])
END
